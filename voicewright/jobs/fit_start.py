"""The voice that a fit begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.voices.fit_ears import Encoders
    from voicewright.voices.known import Portrait
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.references import Reference
    from voicewright.voices.studio import Studio

    Samples = NDArray[np.float32]


def beginning(
    studio: Studio,
    encoders: Encoders,
    wanted: Portrait,
    known: Mapping[str, Portrait],
    references: Sequence[Reference],
    clips: Sequence[Samples],
    progress: Callable[..., None],
) -> tuple[dict[str, float], dict[str, float], Voicepack]:
    """What voices of such a timbre look like (by style encoders where there are any, else by regression on
    the known ones), on the nearest ones' curves; blended for prosody, unless the encoders' is nearer.

    Returns the known voices of both blends with their shares, and the voice.
    """
    import numpy as np
    import torch

    from voicewright.units import STYLE
    from voicewright.voices.known import assembled, prosody_blend, timbre_blend, timbre_guess
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.prosody import nearest_prosody

    acoustic, prosodic = timbre_blend(wanted, known), prosody_blend(wanted, known)
    said = _said(studio, encoders, clips, progress)
    if said is None:
        guess = timbre_guess(wanted, known, studio.packs)
        return acoustic, prosodic, assembled(acoustic, prosodic, studio.packs, guess)
    guess = said.rows[:, 0, :STYLE].mean(0).astype(np.float64)
    start = assembled(acoustic, prosodic, studio.packs, guess)
    both = [torch.from_numpy(pack.rows[:, 0].copy()) for pack in (start, said)]
    if nearest_prosody(studio.net, references, both, studio.precision):
        rows = start.rows.copy()
        rows[..., STYLE:] = said.rows[..., STYLE:]
        start, prosodic = Voicepack.of(rows), {}
    return acoustic, prosodic, start


def _said(
    studio: Studio, encoders: Encoders, clips: Sequence[Samples], progress: Callable[..., None]
) -> Voicepack | None:
    """The voice that style encoders hear in the recordings, where they were taught for these weights."""
    from voicewright.voices.phones import open_phone_ear
    from voicewright.voices.style_encoders import encoders_of, impression

    found = encoders_of(studio.folder, studio.sha256)
    ear = open_phone_ear(progress)
    if found is None or ear is None or encoders.both is None:
        return None
    return found[0].pack(impression(clips, *encoders.both, ear))
