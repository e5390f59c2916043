"""`convert`: recordings, or what is being said, in another voice; in one of five modes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicewright.cli.console import emit, note
from voicewright.cli.options import (
    Embedder,
    Json,
    Pitch,
    RvcIndex,
    Speaker,
    TargetPitch,
    Unvoiced,
    given_options,
    pitch_of,
)
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.conversion.block import LiveOptions
    from voicewright.jobs.live import LiveOrder

_VOICE = {"to", "index", "embedder"}
_SOUND = {
    "pitch", "target_pitch", "method", "speaker", "index_rate", "protect", "unvoiced", "rms_mix", "formant",
}  # fmt: skip
_BLOCKS = {"block", "crossfade", "past", "silence"}
MODES: dict[str, set[str]] = {
    "recordings": {*_VOICE, *_SOUND, "recordings", "output", "rate", "exact", "seed", "format", "device"},
    "--live": {*_VOICE, *_SOUND, *_BLOCKS, "live", "input_device", "output_device", "rate"},
    "--live-from": {*_VOICE, *_SOUND, *_BLOCKS, "live_from", "fast", "output", "rate"},
    "--serve": {
        *_VOICE, "serve", "host", "port", "origin", "page", "slots",
        "pitch", "method", "speaker", "index_rate", "silence",
    },
    "--list-devices": {"list_devices"},
}  # fmt: skip
"""Mode → the options that belong to it; --json belongs to all but --serve."""


def convert(
    given: typer.Context,
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Recordings, or folders of them; none for --live.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="The voice: of RVC (.pth), Beatrice, or a model; tiny if not given.", metavar="VOICE"
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="File or folder; - writes WAV to standard output."),
    ] = None,
    index: RvcIndex = None,
    pitch: Pitch = "auto",
    target_pitch: TargetPitch = None,
    method: Annotated[
        str,
        typer.Option("--method", help="Of pitch: auto, harvest, dio, rmvpe, fcpe.", metavar="NAME"),
    ] = "auto",
    speaker: Speaker = 0,
    index_rate: Annotated[float, typer.Option("--index-rate", help="Share of the index, 0 to 1.")] = 0.75,
    protect: Annotated[
        float, typer.Option("--protect", help="What the index may do to consonants: 0 to 0.5, all.")
    ] = 0.33,
    unvoiced: Unvoiced = "zero",
    rms_mix: Annotated[
        float, typer.Option("--rms-mix", help="0: as loud as the recording; 1: as the voice is.")
    ] = 0.25,
    formant: Annotated[float, typer.Option("--formant", help="Shift formants by semitones.")] = 0.0,
    embedder: Embedder = None,
    rate: Annotated[
        int | None, typer.Option("--rate", help="Samples a second; the voice's own if not given.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="As RVC-WebUI does it, to compare: butt joints and all.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same samples.")] = 0,
    format: Annotated[
        str | None, typer.Option("--format", help="Of files in a folder: wav (if not given), flac, mp3, …")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    live: Annotated[bool, typer.Option("--live", help="From microphone to speakers, until Ctrl-C.")] = False,
    live_from: Annotated[
        Path | None, typer.Option("--live-from", help="Try it with a recording for a microphone, and -o.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="With --live-from: as quickly as possible.")] = False,
    serve: Annotated[
        str | None, typer.Option("--serve", help="Serve clients of: w-okada.", metavar="PROTOCOL")
    ] = None,
    block: Annotated[float, typer.Option("--block", help="Live: seconds converted at a time.")] = 0.25,
    crossfade: Annotated[float, typer.Option("--crossfade", help="Live: seconds of a join.")] = 0.05,
    past: Annotated[float, typer.Option("--context", help="Live: seconds of the past heard.")] = 2.5,
    silence: Annotated[
        float | None, typer.Option("--silence", help="Live: dB below which nothing is converted.")
    ] = None,
    input_device: Annotated[
        str | None, typer.Option("--input-device", help="Live: number, or part of a name.")
    ] = None,
    output_device: Annotated[
        str | None, typer.Option("--output-device", help="Live: number, or part of a name.")
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List microphones and speakers.")
    ] = False,
    host: Annotated[str, typer.Option("--host", help="Serve: address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Serve: port; 0 takes a free one.")] = 18_888,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", help="Serve: pages from elsewhere that may use it.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Serve: folder with w-okada's own web page.")
    ] = None,
    slots: Annotated[
        Path | None, typer.Option("--slots", help="Serve: folder of voices, as w-okada's model_dir.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert recordings, or what is being said: the same words, in another voice."""
    asked = given_options(given)
    _check_mode(asked)
    if live or live_from is not None or serve is not None or list_devices:
        from voicewright.conversion.block import LiveOptions
        from voicewright.jobs.live import LiveOrder

        order = LiveOrder(
            to, index, embedder, live, live_from, output, fast, input_device, output_device, list_devices,
            rate, serve, host, port, tuple(origin or ()), page, slots, frozenset(asked),
        )  # fmt: skip
        sound = LiveOptions(
            pitch=pitch_of(pitch, target_pitch), block=block, crossfade=crossfade, context=past,
            silence=silence, speaker=speaker, target_pitch=target_pitch, method=method,
            index_rate=index_rate, protect=protect, unvoiced=unvoiced, rms_mix=rms_mix, formant=formant,
        )  # fmt: skip
        _live(order, sound, as_json)
        return
    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.jobs.convert import ConvertOrder, convert_all, plan

    if output == "-" and as_json:
        raise UsageError("--json and -o - both want standard output; write the audio to a file.")
    files = ConvertOrder(
        tuple(recordings or ()), to or "tiny", output, index, embedder, device, format, frozenset(asked)
    )
    options = ConvertOptions(
        pitch_of(pitch, target_pitch),
        target_pitch,
        method=method,
        speaker=speaker,
        index_rate=index_rate,
        protect=protect,
        unvoiced=unvoiced,
        rms_mix=rms_mix,
        formant=formant,
        seed=seed,
        exact=exact,
        sample_rate=rate,
    )
    work, folders = plan(files)
    done, failed, name = convert_all(files, options, work, folders)
    if as_json:
        emit({"voice": name, "files": [asdict(one) for one in done], "failed": failed})
    elif output != "-":
        for one in done:
            print(one.output)
    if failed and len(work) > 1:
        note(f"{len(failed)} of {len(work)} recordings could not be converted.")
    if failed:
        raise typer.Exit(1)


def _check_mode(asked: dict[str, str]) -> None:
    """Raises UsageError for two modes at once, and for an option that belongs to another mode."""
    flags = ("live", "live_from", "serve", "list_devices")
    chosen = [asked[name] for name in flags if name in asked]
    if len(chosen) > 1:
        raise UsageError("give one of --live, --live-from, --serve and --list-devices.")
    mode = chosen[0] if chosen else "recordings"
    if chosen and "recordings" in asked:
        raise UsageError("--live, --live-from and --serve take no recordings; leave them out.")
    for name, flag in asked.items():
        if name not in MODES[mode] and name != "as_json":
            owners = [other for other, names in MODES.items() if name in names]
            shown = " and ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
            raise UsageError(f"{flag} belongs to {shown}; leave {flag} out.")
    if mode == "--serve" and "as_json" in asked:
        raise UsageError("--serve prints nothing to be read; leave --json out.")


def _live(order: LiveOrder, options: LiveOptions, as_json: bool) -> None:
    from voicewright import registry
    from voicewright.jobs.live import Serve, convert_live, sound_devices

    if order.list_devices:
        found = sound_devices()
        if as_json:
            emit({"devices": [asdict(device) for device in found]})
            return
        for device in found:
            counts = (("input", device.inputs), ("output", device.outputs))
            what = " and ".join(word for word, count in counts if count)
            print(f"{device.number:3d}  {device.name}  ({what}, {device.rate} Hz)")
        if not found:
            note("no devices")
        return
    if order.serve is not None:
        serve: Serve = registry.named("servers", order.serve, "protocol to --serve").load()
        if code := serve(order, options):
            raise typer.Exit(code)
        return
    done = convert_live(order, options)
    if as_json:
        emit({**asdict(done), "live": done.live})
    else:
        note("\n".join(done.lines()))
