"""Systems: front end, nets and losses for one task; what is trained, saved, loaded and asked to work."""
