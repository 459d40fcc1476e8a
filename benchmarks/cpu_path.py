"""Try what may make separation on a CPU faster: each way in a process of its own, against the first row, in one run.

Run: python benchmarks/cpu_path.py [--skip WORD ...] [--openvino-python PATH] [--markdown docs/speed.md]

A way separates the same seconds, array to array, once to warm up and then `--rounds` times; the least counts. CPU seconds
(user and system) hold on a busy machine; wall seconds are the ones to read for two threads, on a quiet one. Where a way
changes the stems, they are compared with the first row's: the ratio of the signal to the difference, of the worst stem.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measuring import Table, default_model, make_model, make_song, parser, publish, run

PLAIN = {"threads": 1, "seconds": 8.0, "net": "torch", "precision": "float32", "grad": "inference_mode"}
# name: (what differs from PLAIN, environment, what to say beside it)
WAYS = {
    "float32, 1 thread, chunks of 8 s": ({}, {}, ""),
    "2 threads": ({"threads": 2}, {}, ""),
    "bfloat16 (autocast)": ({"precision": "bfloat16"}, {}, ""),
    "`torch.no_grad` for `inference_mode`": ({"grad": "no_grad"}, {}, ""),
    "memory kept (`mallopt`)": ({"mallopt": True}, {}, ""),
    "large pages (`THP_MEM_ALLOC_ENABLE=1`)": ({}, {"THP_MEM_ALLOC_ENABLE": "1"}, ""),
    "memory kept and large pages": ({"mallopt": True}, {"THP_MEM_ALLOC_ENABLE": "1"}, ""),
    "memory kept, bfloat16": ({"mallopt": True, "precision": "bfloat16"}, {}, ""),
    "chunks of 4 s": ({"seconds": 4.0}, {}, ""),
    "chunks of 16 s": ({"seconds": 16.0}, {}, ""),
    "2 chunks in a batch": ({"batch": 2}, {}, ""),
    "4 chunks in a batch": ({"batch": 4}, {}, ""),
    "`torch.compile` of the net": ({"net": "compiled"}, {}, ""),
    "onnxruntime": ({"net": "onnx"}, {}, ""),
    "openvino": ({"net": "openvino"}, {}, ""),
    "spec_unet, channels first": ({"model": "unet"}, {}, "another net, its own reference for the next row"),
    "spec_unet, channels last": ({"model": "unet", "channels_last": True}, {}, "of no use to bsrnn: it has no convolutions"),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--model", help="name or path; default: the shipped one, else random weights of its kind")
    options.add_argument("--only", nargs="*", help="only ways whose name holds one of these words; the first row always")
    options.add_argument("--skip", nargs="*", default=[], help='not these: on a busy machine "2 threads" may take for ever')
    options.add_argument("--length", type=float, default=28.0, help="seconds of song")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--openvino-python", default=sys.executable, help="a Python that has openvino and onnx")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        song = make_song(folder / "song.wav", options.length)
        model, name = default_model(folder, options.model)
        columns = ("way", "CPU s", "ratio", "wall s", "ratio", "peak MiB", "difference, dB", "")
        table = Table(f"{name}, {options.length:g} s of 44.1 kHz stereo, array to array.", *columns)
        references: dict[str, tuple[dict, Path]] = {}
        for number, (label, (changes, environment, remark)) in enumerate(WAYS.items()):
            if number and (options.only and not _any_in(options.only, label) or _any_in(options.skip, label)):
                continue
            paths = {"song": str(song), "folder": str(folder), "path": str(model)}
            settings = {**PLAIN, **changes, **paths, "rounds": options.rounds}
            if changes.get("model") == "unet":
                settings["path"] = str(make_model(folder / "unet.safetensors", net="spec_unet", preset="tiny", chunk_seconds=4.0))
            out = folder / f"{number}.npy"
            python = options.openvino_python if settings["net"] == "openvino" else sys.executable
            command = [python, __file__, "--child", json.dumps(settings), out]
            try:
                one = json.loads(run(command, settings["threads"], **environment).output.splitlines()[-1])
            except SystemExit as error:
                table.notes.append(f"{label}: did not run ({str(error).strip().splitlines()[-1]}).")
                continue
            base, stems = references.setdefault(changes.get("model", "default"), (one, out))
            difference = "" if stems == out else _difference(stems, out)
            if settings["net"] == "compiled":
                remark = f"the first chunk took {one['first']:.0f} s"
            ratios = [(one[what], one[what] / base[what]) for what in ("cpu", "wall")]
            table.add(label, *ratios[0], *ratios[1], one["peak"], difference, remark)
    publish(table, options, "What makes the CPU path faster")


def _any_in(words: list[str], label: str) -> bool:
    return any(word in label for word in words)


def _difference(reference: Path, other: Path) -> str:
    """Compare stems: the ratio of signal to difference in dB, of the worst stem; "same bits" where there is none."""
    import numpy as np

    truth, found = np.load(reference, mmap_mode="r"), np.load(other, mmap_mode="r")
    energies = [(float(np.square(t).sum()), float(np.square(t - f).sum())) for t, f in zip(truth, found, strict=True)]
    if not any(error for _, error in energies):
        return "same bits"
    return f"{min(10 * np.log10(signal / error) for signal, error in energies if error and signal):.0f}"


def _child(settings: argparse.Namespace, out: str) -> None:
    """Separate in one way and print what it took as JSON."""
    import resource
    import time

    import numpy as np
    import soundfile
    import torch

    from songfoundry import checkpoint
    from songfoundry.audio.pieces import overlap_add
    from songfoundry.hardware import keep_memory

    if getattr(settings, "mallopt", False):
        keep_memory()
    torch.set_num_threads(settings.threads)
    system = checkpoint.load(settings.path)
    if settings.net != "torch":
        system.net = _net(system, settings)
    if getattr(settings, "channels_last", False):
        system.net = system.net.to(memory_format=torch.channels_last)
    mixture = np.ascontiguousarray(soundfile.read(settings.song, dtype="float32")[0].T)
    chunk = round(44100 * settings.seconds)
    batch = getattr(settings, "batch", None)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16")
    no_gradient = getattr(torch, settings.grad)

    def process(piece: np.ndarray) -> np.ndarray:
        piece = torch.from_numpy(piece)
        with no_gradient(), autocast:
            return (system.separate(piece) if batch else system.separate(piece[None])[0]).float().numpy()

    def whole() -> np.ndarray:
        stems = overlap_add([mixture], chunk=chunk, hop=chunk - round(chunk * 0.25), process=process, batch=batch)
        return np.concatenate(list(stems), axis=-1)

    begun = time.perf_counter()
    process(np.stack([mixture[:, :chunk]] * batch) if batch else mixture[:, :chunk])
    first, taken = time.perf_counter() - begun, []
    for _ in range(settings.rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        stems = whole()
        taken.append((time.process_time() - cpu, time.perf_counter() - wall))
    np.save(out, stems)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)
    print(json.dumps({"cpu": min(c for c, _ in taken), "wall": min(w for _, w in taken), "peak": peak, "first": first}))


def _net(system, settings: argparse.Namespace):
    """Put another engine in the place of the net."""
    import torch

    if settings.net == "compiled":
        return torch.compile(system.net, dynamic=False)
    from songfoundry.export import export_onnx, load_onnx

    exported = export_onnx(system, Path(settings.folder) / f"{settings.net}.onnx")
    if settings.net == "onnx":
        return load_onnx(exported, threads=settings.threads).net
    import openvino

    numbers = {"INFERENCE_NUM_THREADS": settings.threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(exported), "CPU", numbers)

    class OpenvinoNet(torch.nn.Module):
        def forward(self, spectrum):
            return torch.from_numpy(compiled([spectrum.numpy()])[0].copy())

    return OpenvinoNet()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(argparse.Namespace(**json.loads(sys.argv[2])), sys.argv[3])
    else:
        main()
