"""Encode sound of any length as small latents and decode them: one model loaded once, files streamed."""
