"""The embedded conversion: disguises, the content network, pieces and joins, and a whole converter."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import narrow_config, tone_features

from voicewright.audio.augment import Disguise, Ranges
from voicewright.audio.files import read, resample
from voicewright.audio.mel import LogMel
from voicewright.audio.pitch import f0
from voicewright.catalogue.places import CONTENT, embedded_model
from voicewright.conversion.flow import Crossfade, Cutter, Resampler, as_long
from voicewright.conversion.own import OwnConverter, voiced_pitch
from voicewright.conversion.protocol import Chunks, ConvertOptions
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.model.checkpoint import save_model
from voicewright.model.content.bottleneck import ContentConfig, ContentNet, mean_spectrum, normalised
from voicewright.model.content.files import Conversion, load_content, save_content
from voicewright.training.recipe import Recipe
from voicewright.training.run import train_features
from voicewright.training.stages import Networks
from voicewright.units import SAMPLE_RATE

SMALL = ContentConfig(channels=16, blocks=2, expansion=3, kernel=5, ahead=1, dropout=0.1)
PLAIN = Ranges(
    pitch=(1, 1),
    formants=(1, 1),
    pace=(1, 1),
    harmonics=(1, 1),
    equaliser=0,
    noise=(200, 200),
    narrow=0,
    room=0,
)


def voice(seconds: float, hertz: float = 150.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A vowel that glides a little and pauses every second: harmonics under two formants."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(hertz * (1 + 0.1 * np.sin(2 * np.pi * time))) / rate
    out = np.zeros_like(time)
    for k in range(1, 20):
        loud = np.exp(-(((k * hertz - 600) / 300) ** 2)) + 0.4 * np.exp(-(((k * hertz - 1500) / 400) ** 2))
        out += loud * np.sin(k * phase)
    return (0.1 * out * (time % 1.0 < 0.8)).astype(np.float32)


# --- disguises --------------------------------------------------------------------------------------------


def test_no_disguise_is_the_mel_itself() -> None:
    wave = torch.from_numpy(voice(2.0))[None]
    mel, source = Disguise(PLAIN)(wave)
    own = LogMel("content")(wave)[:, :, :160]
    loud = own > own.max() - 7
    assert (mel - own)[loud].abs().mean() < 0.1
    assert source[0].tolist() == list(range(80))


def test_a_disguise_moves_pitch_and_formants_apart_and_keeps_time() -> None:
    wave = torch.from_numpy(voice(2.0, 200.0))[None]

    def spectrum(pitch: float, formants: float) -> torch.Tensor:
        made, at = Disguise(PLAIN), torch.arange(20.0, 40.0)[None]
        heard = made._heard(wave, torch.ones(1, 1) > 0)
        fine, body = (made._frames(heard, at, torch.full((1, 1), x)) for x in (pitch, formants))
        return made._joined(fine, body, torch.ones(1, 1)).mean((0, 1))

    def peak(power: torch.Tensor) -> float:
        hertz = torch.arange(len(power)) * SAMPLE_RATE / 1024
        low = power * (hertz < 1000)
        return float((low * hertz).sum() / low.sum())

    plain, lower, larger = spectrum(1, 1), spectrum(0.5, 1), spectrum(1, 0.7)
    assert peak(lower) == pytest.approx(peak(plain), rel=0.12)
    assert peak(larger) == pytest.approx(0.7 * peak(plain), rel=0.12)
    # Harmonics every 100 Hz instead of every 200: autocorrelation of the log spectrum says so.
    fine = (lower + 1e-6).log()[8:60] - (lower + 1e-6).log()[8:60].mean()
    period = 100 * 1024 / SAMPLE_RATE
    shift = round(period)
    assert float((fine[shift:] * fine[:-shift]).sum()) > 0


def test_disguises_follow_the_seed_and_say_where_a_fast_clip_ends() -> None:
    wave = torch.from_numpy(voice(2.0))[None].repeat(2, 1)
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        made.append(Disguise()(wave)[0])
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0][0], made[0][1])
    _, source = Disguise(Ranges(pace=(1.25, 1.25), untouched=0))(wave)
    assert source[0, :4].tolist() == [0, 1, 2, 4] and source[0, 64:].eq(-1).all()


# --- the network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_network_sees_no_further_than_it_says(bottleneck: bool) -> None:
    torch.manual_seed(0)
    net = ContentNet(SMALL.model_copy(update={"bottleneck": bottleneck}), 8, 10).eval()
    x = torch.randn(1, 80, 120)
    other = x.clone()
    other[:, :, 60:] += 1
    one, two = net(x), net(other)
    assert one.text.shape == (1, 8, 60) and one.phones.shape == (1, 10, 60)
    assert one.energy.shape == one.voicing.shape == (1, 120)
    reach = 30 - net.config.frames_ahead
    assert torch.equal(one.text[:, :, :reach], two.text[:, :, :reach])
    assert not torch.equal(one.text, two.text)
    other = x.clone()
    other[:, :, :60] += 1
    after = 30 + net.config.frames_back
    assert torch.equal(one.text[:, :, after:], net(other).text[:, :, after:])


def test_channel_and_level_do_not_reach_the_network() -> None:
    mel = torch.randn(1, 80, 200) + 5
    curve = torch.linspace(-2, 3, 80)[None, :, None]
    one, other = (normalised(x, mean_spectrum(x)) for x in (mel, mel + curve))
    assert (one - other).abs().mean() < 0.1


def folder_of(path: Path) -> Path:
    torch.manual_seed(1)
    config = narrow_config()
    networks = Networks(config, SMALL)
    assert networks.content is not None
    save_model(path, networks.tts, config, networks.styles)
    save_content(path, Conversion(networks.content, torch.randn(128), 180.0), {"licence": "CC0-1.0"})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("model"))


def test_content_networks_are_read_as_written_and_refused_elsewhere(folder: Path, tmp_path: Path) -> None:
    config = narrow_config()
    found = load_content(folder, config)
    assert found.pitch == 180.0 and found.net.config == SMALL and found.style.shape == (128,)
    with pytest.raises(VoicewrightError, match="belongs to another model"):
        load_content(folder, config.model_copy(update={"hidden_dim": 64}))
    with pytest.raises(VoicewrightError, match=r"cannot convert speech: it has no content/config\.json"):
        load_content(tmp_path, config)
    (tmp_path / CONTENT).mkdir()
    (tmp_path / CONTENT / "config.json").write_text('{"network": {"channels": 16}}')
    with pytest.raises(VoicewrightError, match="cannot be read as a content network"):
        load_content(tmp_path, config)


def test_the_stage_teaches_the_network_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "convert",
            "start": str(folder),
            "precision": "fp32",
            "content": SMALL.model_dump(),
            "discriminators": {
                "periods": [2],
                "period_channels": [4] * 5,
                "resolutions": [[512, 128]],
                "spectrogram_channels": 4,
            },
            "split": {"every": 6},
            "log_every": 1,
            "stages": [
                {
                    "stage": "content",
                    "steps": 16,
                    "batch_frames": 60,
                    "crop": 30,
                    "window": 30,
                    "optimizer": {"learning_rate": 5e-3, "warmup": 2},
                    "losses": {"text": 1, "phones": 1, "energy": 1, "voicing": 1, "front": 0.1},
                }
            ],
            "judge": {"every": 8},
        }
    )
    features = [tone_features(i) for i in range(12)]
    said: list[str] = []
    result = train_features(recipe, features, tmp_path / "run", device=torch.device("cpu"), line=said.append)
    assert (result.model / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    scores = {entry["step"]: entry["score"] for entry in result.best}
    assert scores[16.0] > scores[8.0] and len(scores) == 2
    found = load_content(result.model, narrow_config())
    assert not torch.equal(found.net.stem.weight, load_content(folder, narrow_config()).net.stem.weight)
    voiced = np.concatenate([f.f0[f.f0 > 0] for f in features])
    assert found.pitch == pytest.approx(float(np.median(voiced)), rel=0.2)


# --- pieces and joins -------------------------------------------------------------------------------------


def test_pieces_are_the_recording_cut_where_it_is_quiet() -> None:
    wave = voice(20.3)
    chunks = Chunks(pad=0.5, query=1.0, center=4.0, longest=5.5)
    blocks = [wave[i : i + 7001] for i in range(0, len(wave), 7001)]
    made = list(Cutter(chunks, 600, SAMPLE_RATE).all(blocks))
    assert len(made) > 3 and sum(piece.count for piece in made) == len(wave)
    at = 0
    for piece in made:
        own = piece.samples[piece.before : piece.before + piece.count]
        assert np.array_equal(own, wave[at : at + piece.count])
        at += piece.count
        assert at == len(wave) or (at % 600 == 0 and np.abs(wave[at - 100 : at + 100]).max() < 1e-3)
        assert len(piece.samples) <= 6.6 * SAMPLE_RATE
    fade = Crossfade(SAMPLE_RATE)
    again = np.concatenate([fade.join(piece, piece.samples) for piece in made])
    assert np.abs(again - wave).max() < 1e-6


def test_a_cut_may_fall_beyond_the_longest_piece() -> None:
    wave = np.random.default_rng(1).standard_normal(20 * SAMPLE_RATE).astype(np.float32)
    wave[int(5.7 * SAMPLE_RATE) : int(5.8 * SAMPLE_RATE)] = 0
    chunks = Chunks(pad=0.5, query=1.9, center=4.0, longest=4.0)
    made = list(Cutter(chunks, 600, SAMPLE_RATE).all(np.array_split(wave, 200)))
    assert sum(piece.count for piece in made) == len(wave)
    assert 5.7 * SAMPLE_RATE <= made[0].count <= 5.8 * SAMPLE_RATE
    assert all(len(piece.samples) - piece.before - piece.count == SAMPLE_RATE // 2 for piece in made[:-1])


def test_resampling_in_blocks_has_no_seam() -> None:
    wave = voice(1.0, rate=16_000)
    whole = resample(wave, 16_000, SAMPLE_RATE)
    parts = np.concatenate(
        [*Resampler(16_000, SAMPLE_RATE).all([wave[i : i + 333] for i in range(0, len(wave), 333)])]
    )
    assert len(parts) == len(whole) and np.abs(parts - whole).max() < 1e-3


# --- the converter ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converter(folder: Path) -> OwnConverter:
    return OwnConverter(folder)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_conversion_is_as_long_as_its_source(converter: OwnConverter, rate: int) -> None:
    wave = voice(2.3, rate=rate)
    made = converter.convert(wave, rate, ConvertOptions(sample_rate=rate))
    assert len(made.samples) == len(wave) and made.sample_rate == rate
    assert np.isfinite(made.samples).all() and np.abs(made.samples).max() <= 1
    again = converter.convert(wave, rate, ConvertOptions(sample_rate=rate))
    assert np.array_equal(made.samples, again.samples)


def test_a_stream_is_as_long_as_its_source() -> None:
    def pieces(*lengths: int) -> list[np.ndarray]:
        return [np.full(length, length, np.float32) for length in lengths]

    for lengths, due in (
        ((5, 3), 8),
        ((5, 3), 7),
        ((5, 3), 10),
        ((5, 0), 6),
        ((), 2),
        ((), 0),
        ((4, 0, 2, 0), 5),
    ):
        made = [*as_long(pieces(*lengths), lambda due=due: due)]
        assert sum(map(len, made)) == due and all(map(len, made))


def test_pitch_is_moved_to_the_target_or_by_what_is_asked(converter: OwnConverter) -> None:
    wave = voice(3.0, 120.0)
    made = converter.convert(wave, SAMPLE_RATE, ConvertOptions())
    assert made.transpose == pytest.approx(12 * np.log2(180 / 120), abs=1)
    assert converter.convert(wave, SAMPLE_RATE, ConvertOptions(pitch=-3)).transpose == pytest.approx(-3)
    measured = ConvertOptions(source_pitch=90.0, target_pitch=180.0)
    assert converter.convert(wave, SAMPLE_RATE, measured).transpose == pytest.approx(12)


def test_a_long_stream_is_whole_and_in_pieces(converter: OwnConverter) -> None:
    wave = voice(13.0)
    options = ConvertOptions(chunks=Chunks(pad=0.5, query=1.0, center=4.0, longest=5.0))
    blocks = (wave[i : i + 5000] for i in range(0, len(wave), 5000))
    parts = list(converter.stream(blocks, SAMPLE_RATE, options))
    assert len(parts) > 3 and sum(map(len, parts)) == len(wave)
    assert len(converter.convert(wave, SAMPLE_RATE, options).samples) == len(wave)


def test_silence_stays_silence_and_noise_is_survived(converter: OwnConverter) -> None:
    silent = converter.convert(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE, ConvertOptions())
    assert not silent.samples.any() and "silence" in silent.warnings[0]
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    assert "no voiced speech" in converter.convert(noise, SAMPLE_RATE, ConvertOptions()).warnings[0]
    assert len(converter.convert(noise[:50], SAMPLE_RATE, ConvertOptions()).samples) == 50


def test_what_cannot_be_done_is_said(converter: OwnConverter) -> None:
    wave = voice(1.0)
    for options in (ConvertOptions(formant=2.0), ConvertOptions(speaker=1), ConvertOptions(exact=True)):
        with pytest.raises(UsageError):
            converter.convert(wave, SAMPLE_RATE, options)
    for bad in (np.full(100, np.nan, np.float32), np.zeros((2, 100), np.float32), np.zeros(0, np.float32)):
        with pytest.raises(VoicewrightError):
            converter.convert(bad, SAMPLE_RATE, ConvertOptions())
    with pytest.raises(Cancelled):
        converter.convert(wave, SAMPLE_RATE, ConvertOptions(), cancel=lambda: True)


def test_gaps_of_the_pitch_tracker_are_bridged_where_there_is_voice() -> None:
    found = np.array([0, 100, 0, 0, 100, 0, 0, 200], np.float32)
    voicing = np.array([0, 1, 1, 1, 1, 0.5, 0, 0.1], np.float32)
    assert voiced_pitch(found, voicing).tolist() == pytest.approx([0, 100, 100, 100, 100, 0, 0, 0])
    assert not voiced_pitch(np.zeros(5, np.float32), np.ones(5, np.float32)).any()


# --- the shipped weights ----------------------------------------------------------------------------------


def test_kathleen_says_what_another_voice_said() -> None:
    """A low voice, made from the embedded one's own speech played slower, comes back as hers."""
    from voicewright.engines.torch_engine import TorchEngine

    spoken = TorchEngine().speak("The ferry left at seven in the morning.").samples
    low = resample(spoken, round(0.8 * SAMPLE_RATE), SAMPLE_RATE)
    converter = OwnConverter("kathleen")
    made = converter.convert(low, SAMPLE_RATE, ConvertOptions())
    assert made.transpose == pytest.approx(12 * np.log2(1 / 0.8), abs=1.5)
    source, target = f0(low), f0(made.samples)
    both = (source > 0) & (target > 0)
    assert both.mean() > 0.3
    assert np.corrcoef(np.log(source[both]), np.log(target[both]))[0, 1] > 0.8
    assert float(np.median(target[both])) == pytest.approx(converter.pitch, rel=0.12)
    # A whisper-like source (noise under the same envelope) has no pitch, and gets none.
    size = sum(file.stat().st_size for file in (embedded_model() / CONTENT).iterdir())
    assert size < 16_000_000


@pytest.mark.skipif("VOICEWRIGHT_SPEECH" not in os.environ, reason="VOICEWRIGHT_SPEECH names no recordings")
def test_a_real_man_becomes_kathleen() -> None:
    from voicewright.listen.speaker import SpeakerEncoder, mean_voice

    speech = Path(os.environ["VOICEWRIGHT_SPEECH"])
    source = read(sorted((speech / "libri10").rglob("*.flac"))[0])
    converter, encoder = OwnConverter("kathleen"), SpeakerEncoder()
    made = converter.convert(source, SAMPLE_RATE, ConvertOptions()).samples
    hers = [read(path) for path in sorted((speech / "kathleen").rglob("*7.*"))[:12] if path.suffix != ".csv"]
    target = mean_voice(encoder.embed_many(hers))
    before, after = encoder.embed(source), encoder.embed(made)
    assert after @ target > 0.7 and after @ target > after @ before
