"""Which months of the feed are new or changed since they were last asked for.

Here: comparing the feed with what was seen of it before, and when a month whose run failed for a passing
reason is asked for again. Not here: how its run ended (`operations/outcomes.py`) and what is done about a
changed month (`operations/feed_sensor.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from refinery_assets.contract.months import Month
from refinery_assets.contract.settings import Settings
from refinery_assets.feed.files import FeedFile, RefusedFileError, feed_as_of_now, feed_files

PAUSES_MINUTES = (5, 15, 45)
"""How long to wait after each failure of a month's run before asking again; then it is left to a person."""


@dataclass(frozen=True)
class MonthSeen:
    """What was seen of one month's files.

    Attributes:
        state: Digest of their sizes and modification times when they were last looked at.
        since: When that state was first seen, seconds of the epoch.
        settled: The state that was last decided on; None before the first decision.
        content: Digest of what the files held when the month was last asked for.
        requests: How often the month was asked for.
        awaited: Names the request whose outcome is not known yet.
        failures: How often in a row its run failed for a passing reason, for the same content.
        ask_at: When to request it again, in seconds of the epoch; None: never by itself.
        trouble: Why its run failed the last time.
    """

    state: str
    since: float
    settled: str | None = None
    content: str | None = None
    requests: int = 0
    awaited: str | None = None
    failures: int = 0
    ask_at: float | None = None
    trouble: str | None = None

    def asked(self, content: str | None) -> MonthSeen:
        """After a request for `content`; another content than before starts the count of failures anew."""
        failures = self.failures if content == self.content else 0
        return replace(self, content=content, requests=self.requests + 1, failures=failures, ask_at=None, trouble=None)

    def ended_well(self) -> MonthSeen:
        """After a run that published the month, or that refused it: it is not requested again by itself."""
        return replace(self, awaited=None, failures=0, ask_at=None, trouble=None)

    def failed(self, trouble: str, ended: float) -> MonthSeen:
        """After a run that ended, at a moment, for a reason that may pass."""
        pauses = PAUSES_MINUTES[self.failures : self.failures + 1]
        ask_at = ended + 60 * pauses[0] if pauses else None
        return replace(self, awaited=None, failures=self.failures + 1, ask_at=ask_at, trouble=trouble)


@dataclass(frozen=True)
class FeedSeen:
    """What was seen of the whole feed; travels as text from one look to the next."""

    months: dict[str, MonthSeen] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | None) -> FeedSeen:
        """Read what `str` wrote; nothing was seen where there is no text."""
        return cls({key: MonthSeen(**seen) for key, seen in json.loads(text or "{}").items()})

    def __str__(self) -> str:
        return json.dumps({key: asdict(seen) for key, seen in self.months.items()})

    def awaited(self) -> dict[str, list[str]]:
        """The months that each request was for whose outcome is not known yet."""
        requests: dict[str, list[str]] = {}
        for key, seen in self.months.items():
            if seen.awaited is not None:
                requests.setdefault(seen.awaited, []).append(key)
        return requests

    def with_months(self, changed: Mapping[str, MonthSeen]) -> FeedSeen:
        """The same, with some months seen otherwise."""
        return FeedSeen({**self.months, **changed})


@dataclass(frozen=True)
class FeedChanges:
    """The outcome of a look at the feed.

    Attributes:
        changed: Months to ask for, in order.
        unsettled: Months whose files were changed only just now, perhaps are being written.
        seen: What is to be remembered until the next look.
        months_per_run: The most months to ask for in one run; None: any number.
    """

    changed: Sequence[Month]
    unsettled: Sequence[Month]
    seen: FeedSeen
    months_per_run: int | None = None

    def spans(self) -> list[list[Month]]:
        """The changed months in groups that follow one another without a gap, each of them one run."""
        return Month.unbroken(self.changed, self.months_per_run)

    def requests(self) -> tuple[dict[str, list[Month]], FeedSeen]:
        """The requests to make, by their keys, and what is to be remembered once they are made."""
        requests = {self._request_key(span): span for span in self.spans()}
        awaited = {
            str(month): replace(self.seen.months[str(month)], awaited=key)
            for key, span in requests.items()
            for month in span
        }
        return requests, self.seen.with_months(awaited)

    def _request_key(self, months: Iterable[Month]) -> str:
        """Names a request: the same when it is repeated because this look was not remembered."""
        asked = [(str(month), self.seen.months[str(month)]) for month in months]
        text = repr([(key, seen.content, seen.requests) for key, seen in asked])
        return f"{asked[0][0]}...{asked[-1][0]} {_digest(text)}"


def look_for_changes(settings: Settings, months: Iterable[Month], before: FeedSeen, now: float) -> FeedChanges:
    """Compare the files of `months` with what was seen before.

    A month is asked for when its files rest since `settings.quiet_seconds` and hold something else than
    when it was last asked for, or when its run has failed and the pause after that is over. Contents are read
    only where a size or a modification time has changed.

    Args:
        settings: Where the feed lies, and how long files must rest.
        months: The months that may be asked for.
        before: The `seen` of the last look.
        now: Seconds of the epoch.

    Raises:
        StoreError: The feed's store cannot be reached.
    """
    feed = feed_as_of_now(settings)
    after = dict(before.months)
    changed, unsettled = [], []
    for month in months:
        # A wide file is several families' file.
        files = {part.name: part for file in feed_files(settings, [month], feed) for part in file.parts}.values()
        stats = [_stat(file) for file in files]
        modified = [stat[1] / 1e9 for stat in stats if stat is not None]
        if not modified:
            continue
        state = _digest(repr(stats))
        old = before.months.get(str(month), MonthSeen(state, now))
        if old.settled == state:
            if old.ask_at is not None and old.ask_at <= now:
                changed.append(month)
                after[str(month)] = old.asked(old.content)
            continue
        seen = old if old.state == state else replace(old, state=state, since=now)
        # Either the files are old, or, should their times say nothing, they have not changed for long.
        if now - min(seen.since, max(modified)) < settings.quiet_seconds:
            unsettled.append(month)
        else:
            content = _content(files)
            if content != seen.content:
                changed.append(month)
                seen = seen.asked(content)
            seen = replace(seen, settled=state)
        after[str(month)] = seen
    return FeedChanges(changed, unsettled, FeedSeen(after), settings.months_per_run)


def _stat(file: FeedFile) -> tuple[int, int] | None:
    """Size and modification time in nanoseconds; None where nothing can be seen."""
    found = file.look()
    return None if found is None else (found.size, found.modified_ns)


def _content(files: Iterable[FeedFile]) -> str:
    digests = []
    for file in files:
        found = file.look()
        if found is not None and found.version is not None:
            # An object store knows by itself what it holds, and nothing need be read.
            digests.append(found.version)
            continue
        try:
            digests.append(hashlib.sha256(file.read()).hexdigest())
        # What cannot be read is for the entrance audit to report; here it is a content like any other.
        except (FileNotFoundError, RefusedFileError) as error:
            digests.append(type(error).__name__)
    return _digest(repr(digests))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
