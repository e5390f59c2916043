"""The options of `voicewright convert`; the work is in `convert_commands.py` and `live_commands.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicewright.cli.options import Embedder, Json, Pitch, RvcIndex, Speaker, TargetPitch, Unvoiced
from voicewright.errors import UsageError


def convert(
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
    format: Annotated[str, typer.Option("--format", help="Of files in a folder: wav, flac, mp3, …")] = "wav",
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
    context: Annotated[float, typer.Option("--context", help="Live: seconds of the past heard.")] = 2.5,
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
    from voicewright.jobs.live import LiveOrder

    streaming = LiveOrder(
        to, index, embedder, live, live_from, output, fast, input_device, output_device, list_devices,
        rate, serve, host, port, tuple(origin or ()), page, slots,
    )  # fmt: skip
    if streaming.wanted:
        from voicewright.jobs.live import live_options, stream

        sound = live_options(
            pitch, block=block, crossfade=crossfade, context=context, silence=silence, speaker=speaker,
            target_pitch=target_pitch, method=method, index_rate=index_rate, protect=protect,
            unvoiced=unvoiced, rms_mix=rms_mix, formant=formant,
        )  # fmt: skip
        if recordings:
            raise UsageError("--live, --live-from and --serve take no recordings; leave them out.")
        if device != "cpu":
            raise UsageError("--live, --live-from and --serve compute on the cpu; leave --device out.")
        if code := stream(streaming, sound, as_json):
            raise typer.Exit(code)
        return
    from voicewright.convert.protocol import ConvertOptions
    from voicewright.jobs.convert import ConvertOrder, command, pitch_of

    order = ConvertOrder(tuple(recordings or ()), to or "tiny", output, index, embedder, device, format)
    options = ConvertOptions(
        pitch_of(pitch),
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
    if code := command(order, options, as_json):
        raise typer.Exit(code)
