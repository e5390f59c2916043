"""`fit --adapt`: a voicepack, and adapters that begin with it, from the same clips of the same recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import UsageError
from voicewright.jobs.fit_material import AMPLE

if TYPE_CHECKING:
    from voicewright.jobs.fit import FitOptions
    from voicewright.jobs.fit import Result as Fitted
    from voicewright.training.lifecycle import Result as Adapted

CORPUS, LEARNT = "corpus", "learnt"
"""Of the run's folder: what the recordings were prepared to, and the clips of it that teach."""
RECIPE = "adapt"


def fit_and_adapt(
    source: Path,
    out: Path,
    folder: Path,
    options: FitOptions | None = None,
    *,
    steps: int | None = None,
    progress: Callable[..., None],
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Fitted, Adapted | None]:
    """Fit a voicepack to recordings and train adapters in `folder` that begin with it.

    The clips by which adapters are judged teach neither. steps: of the adapters' run; None: as the recipe has
    them. Stopped while it fits, it ends with the pack (and
    None); while it trains, with a run that `train adapt --resume` goes on with.
    Raises UsageError and VoicewrightError as `fit` and `train_adapters` do, what is wrong with the recordings
    before anything is fitted.
    """
    from voicewright.corpus.manifest import META, Corpus
    from voicewright.corpus.prepare import prepare
    from voicewright.jobs.adapt import MOST, parts, train_adapters
    from voicewright.jobs.adapt_start import part_of
    from voicewright.jobs.fit import FitOptions, check, fit, stoppable
    from voicewright.training.adapt.recipe import AdaptRecipe
    from voicewright.training.options import Options, check_folder, find_recipe
    from voicewright.training.order import Wishes

    options = options or FitOptions()
    check(source, out, options)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; --adapt names the folder that adapters are trained in.")
    check_folder(folder, resume=False)
    recipe = find_recipe(RECIPE)
    given = source
    if not (source / META).is_file():
        given = folder / CORPUS
        prepare(
            source, given, language=options.language, consent=options.consent, licence=options.licence,
            recogniser=options.recogniser, most=AMPLE * MOST,
            progress=stoppable(progress, cancelled, f"Stopped; the same again goes on with {given}."),
        )  # fmt: skip
    corpus = Corpus.read(given)
    training, _ = parts(corpus, AdaptRecipe.read(recipe), given)
    folder.mkdir(parents=True, exist_ok=True)
    part = part_of(corpus, training, folder / LEARNT)
    fitted = fit(part, out, replace(options, language=None), progress=progress, cancelled=cancelled)
    if cancelled is not None and cancelled():
        return fitted, None
    progress(f"{out} is fitted; adapters begin with it.")
    adapted = train_adapters(
        recipe, given, folder, wishes=Wishes(options.model, str(out), options.voices),
        options=Options(steps), recogniser=options.recogniser,
        line=stoppable(progress, cancelled, f"Stopped before there were adapters; {out} is fitted."),
    )  # fmt: skip
    if not adapted.finished:
        progress(f"To go on: voicewright train {RECIPE} --corpus {given} --out {folder} --resume")
    return fitted, adapted
