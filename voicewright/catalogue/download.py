"""One file over HTTP: resumed, capped, checked by hash, renamed. Only `catalogue.pull` calls it."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from voicewright.catalogue.published import Published, PublishedFile
from voicewright.errors import VoicewrightError
from voicewright.storage import digest
from voicewright.version import __version__

TIMEOUT = 30.0
"""Seconds without a byte before a connection counts as lost."""
_BLOCK = 2**20
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Progress = Callable[[str, float, float], object]


def endpoint() -> str:
    """Where repositories are: Hugging Face, or the mirror that its own variable HF_ENDPOINT names."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def fetch(
    published: Published,
    file: PublishedFile,
    target: Path,
    accepted: frozenset[str],
    progress: Progress | None = None,
) -> None:
    """Bring one file to `target`, checked. A file that is there with the right hash is left alone.

    What has arrived of a stopped download stays beside it as `.part` and is continued; a file waiting for its
    hash to be accepted stays likewise; a wrong hash leaves nothing. Raises VoicewrightError in one sentence.
    """
    if target.is_file():
        if _verified(target, file, accepted) is None:
            return
        target.unlink()
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    url = f"{endpoint()}/{published.repository}/resolve/{published.revision}/{quote(file.path)}"
    _download(url, file, part, progress)
    wrong = _verified(part, file, accepted)
    if wrong is not None:
        if file.sha256 is not None:
            part.unlink()
        raise VoicewrightError(wrong)
    with part.open("rb+") as written:
        os.fsync(written.fileno())
    part.replace(target)


def _verified(path: Path, file: PublishedFile, accepted: frozenset[str]) -> str | None:
    """None for the right file, else the sentence that says what is wrong."""
    found = digest(path)
    if file.sha256 is None:
        if found in accepted:
            return None
        return (
            f"{file.path} arrived with the sha256 {found}, and none is known to compare it with; if that is "
            f"the file you trust, run again with --accept-hash {found}."
        )
    if found == file.sha256:
        return None
    return (
        f"{file.path} arrived with the sha256 {found} instead of {file.sha256}, so it was not kept; try "
        "again, and if it stays so, the file at its source is not the one that is known."
    )


def _download(url: str, file: PublishedFile, part: Path, progress: Progress | None) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise VoicewrightError(f"{file.path} is not here and HF_HUB_OFFLINE forbids to fetch it; unset it.")
    _check_url(url)
    most = file.limit
    have = part.stat().st_size if part.is_file() else 0
    if have >= most:  # whole, or of another file; the hash tells
        return
    headers = {"User-Agent": f"voicewright/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
            _receive(response, file, part, have, most, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or the part is of another file: the hash tells
            return
        raise VoicewrightError(
            f"{url} was answered with {error.code} {error.reason}; try again later."
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        kept = " What has arrived is kept, and the next try goes on from there." if part.is_file() else ""
        raise VoicewrightError(
            f"{urlsplit(url).netloc} cannot be reached ({reason}); look to the network and try again.{kept}"
        ) from error


def _receive(
    response: Any, file: PublishedFile, part: Path, have: int, most: int, progress: Progress | None
) -> None:
    """Write the answer's body behind the `have` bytes that are there, never beyond `most`."""
    if have and (
        response.status != 206 or not (response.headers["Content-Range"] or "").startswith(f"bytes {have}-")
    ):
        have = 0  # the server sends the whole file
    announced = response.headers["Content-Length"]
    total = have + int(announced) if announced and announced.isdigit() else None
    if total is not None and (total > most or (file.bytes is not None and total != file.bytes)):
        part.unlink(missing_ok=True)
        raise VoicewrightError(
            f"{file.path} is announced with {total} bytes instead of "
            f"{'' if file.bytes else 'at most '}{most}, so nothing was kept."
        )
    with part.open("ab" if have else "wb") as out:
        while block := response.read(min(_BLOCK, most - have + 1)):
            have += len(block)
            if have > most:
                break
            out.write(block)
            if progress is not None:
                progress(file.path, have, total or most)
    if have > most:
        part.unlink()
        raise VoicewrightError(
            f"{file.path} has more than the {most} bytes that it may have; nothing was kept."
        )
    if have < (total or file.bytes or 0):
        raise VoicewrightError(
            f"{file.path} broke off after {have} of {total or file.bytes} bytes; run the command again to go "
            "on from there."
        )


def _check_url(url: str) -> None:
    """Only https; plain http to this machine itself alone."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise VoicewrightError(f"{url} is no https address; nothing was fetched.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to safe addresses only."""

    def redirect_request(self, *arguments: Any, **named: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*arguments, **named)
        if request is not None:
            _check_url(request.full_url)
        return request
