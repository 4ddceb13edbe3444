"""An evaluation from manifest to report: asks what is left to ask, then writes Markdown, JSON and plots."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from offline.evaluation.asking import Answers, Question, ask_all
from offline.evaluation.collect import observed, question
from offline.evaluation.cost import Meter, read_windows
from offline.evaluation.markdown import render
from offline.evaluation.pictures import draw
from offline.evaluation.report import CASCADE, FULL, NO_TITLE, ROUNDS, About, Report, Run, as_json, build
from offline.evaluation.sample import described, require_labels, stratified
from offline.evaluation.store import Store
from offline.manifest import Labelled
from services.contracts import Decision, Mode

WINDOW = 40
"""Videos of a window of CPU time: long against the tick of the clock (10 ms), short enough for many windows."""
_LEAST_MISSING, _MISSING_SHARE = 5, 0.02
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Setup:
    """What is evaluated, and where things are written.

    Attributes:
        rows: of the manifest.
        manifest: its path, for the report.
        mix: share of traffic by kind; None for the manifest's own weights.
        folder: of decisions and CPU times, which a second start goes on with.
        out: folder of the report.
        name: of the report's files.
        command: that makes it.
        synthetic: whether the videos are of the demo world.
        full_sample: videos asked in mode `full` and under other conditions; 0: none.
        concurrency: most calls at a time.
        rounds: of every bootstrap.
    """

    rows: Sequence[Labelled]
    manifest: str
    mix: Mapping[str, float] | None
    folder: Path
    out: Path
    name: str
    command: str
    synthetic: bool
    full_sample: int = 1000
    concurrency: int = 3
    rounds: int = ROUNDS

    def __post_init__(self) -> None:
        check_name(self.name)
        require_labels(self.rows, self.manifest)


@dataclass(frozen=True)
class Services:
    """Where the services are; without `router` and `ranker` no cost is measured."""

    gateway: str
    router: str | None = None
    ranker: str | None = None
    api_key: SecretStr | None = field(default=None, repr=False)

    @property
    def metered(self) -> dict[str, str]:
        """Base URLs of all three by name; empty where one is not known."""
        if self.router is None or self.ranker is None:
            return {}
        return {"gateway": self.gateway, "router": self.router, "ranker": self.ranker}


def check_name(name: str) -> str:
    """The name, which becomes part of files' names; ValueError where it cannot."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: use a-z, 0-9, `-` and `_`, beginning with a letter or digit")
    return name


def observe(setup: Setup, services: Services, console: Console, *, condition: str | None = None) -> None:
    """Ask what has not been asked: the cascade, mode `full` on a part, and without titles those that have one.

    Args:
        setup: what is evaluated.
        services: that run.
        console: where progress goes.
        condition: names how these services differ from those of the report, e.g. `frames-2`; the part that is asked in
            mode `full` is asked then, in mode `cascade`, and nothing else.

    Raises:
        WinnowError, ValueError, OSError: see ask_all, Store and Meter; what was decided is kept.
    """
    url, part = services.gateway, stratified(setup.rows, setup.full_sample)
    if condition is not None:
        _ask(setup, services, console, check_name(condition), [question(url, row) for row in part])
        return
    _ask(setup, services, console, CASCADE, _of(setup.rows, url, "cascade"), metered=True)
    if part:
        _ask(setup, services, console, FULL, _of(part, url, "full"), metered=True)
    titled = [row for row in setup.rows if row.title or row.description]
    if titled:
        _ask(setup, services, console, NO_TITLE, [question(url, row, with_title=False) for row in titled])


def report(setup: Setup, console: Console) -> Report:
    """Write `NAME.md`, `NAME.json` and `NAME-*.png` from what was observed.

    Raises:
        ValueError: nothing was, or the runs do not fit together.
    """
    about = About(
        title=f"Evaluation: {setup.name}", command=setup.command, manifest=setup.manifest, synthetic=setup.synthetic,
        traffic=described(setup.mix, setup.rows),
    )  # fmt: skip
    with console.status("drawing bootstrap samples"):
        made = build(about, _runs(setup), rounds=setup.rounds)
    setup.out.mkdir(parents=True, exist_ok=True)
    plots = draw(made, setup.out, setup.name)
    text = render(made, {caption: Path(path.name) for caption, path in plots.items()})
    (setup.out / f"{setup.name}.json").write_text(as_json(made), encoding="utf-8")
    (setup.out / f"{setup.name}.md").write_text(text, encoding="utf-8")
    return made


def _of(rows: Sequence[Labelled], url: str, mode: Mode) -> list[Question]:
    """Kind by kind, so that windows differ in how much is routed: the costs of both sorts can be told apart then."""
    ordered = sorted(rows, key=lambda row: row.kind)
    return [question(url, row, mode) for row in ordered]


def _ask(
    setup: Setup,
    services: Services,
    console: Console,
    name: str,
    questions: Sequence[Question],
    *,
    metered: bool = False,
) -> None:
    asyncio.run(_asked(setup, services, console, name, questions, metered=metered))


async def _asked(
    setup: Setup, services: Services, console: Console, name: str, questions: Sequence[Question], *, metered: bool
) -> None:
    with Store(setup.folder / f"{name}.jsonl") as store:
        # One first: what is wrong with all of them is to be told before hours of work.
        for first in questions[:1]:
            probe = await ask_all(
                [first], Console(quiet=True), what=name, store=store, allowed_missing=1, api_key=services.api_key
            )
            require_known(setup.rows, probe)
        meter = None
        if metered and services.metered:
            meter = Meter(services.metered, setup.folder / f"{name}.cpu.jsonl")
            await meter.start()
        answers = await ask_all(
            questions, console, what=name.replace("_", " "), store=store, concurrency=setup.concurrency,
            allowed_missing=allowed_missing(len(questions)), window=WINDOW if meter else None, on_window=meter,
            api_key=services.api_key,
        )  # fmt: skip
    missing = json.dumps(list(answers.missing.values()))
    (setup.folder / f"{name}.missing.json").write_text(missing, encoding="utf-8")


def allowed_missing(questions: int) -> int:
    """Videos without a decision that a run bears before it ends."""
    return max(_LEAST_MISSING, int(_MISSING_SHARE * questions))


def require_known(rows: Sequence[Labelled], answers: Answers) -> None:
    """Raise ValueError where rows are labelled with issues that decisions are not about."""
    labels = {issue for row in rows for issue in row.issues}
    for decision in answers.decisions.values():
        unknown = labels - {issue.id for issue in decision.issues}
        if unknown:
            raise ValueError(
                f"the manifest labels videos with {', '.join(sorted(unknown))}, which the gateway's policy does not "
                "have; correct the labels, or start the gateway with a policy that has them"
            )


def _runs(setup: Setup) -> dict[str, Run]:
    """Everything that was observed of these rows, by condition."""
    runs: dict[str, Run] = {}
    names = sorted(path.stem for path in setup.folder.glob("*.jsonl") if not path.name.endswith(".cpu.jsonl"))
    for name in names:
        decisions: dict[str, Decision] = {}
        mode: Mode = FULL if name == FULL else CASCADE
        with Store(setup.folder / f"{name}.jsonl") as store:
            for row in setup.rows:
                found = store.find(question("", row, mode, with_title=name != NO_TITLE))
                if found is not None:
                    decisions[row.id] = found
        if decisions:
            missing = setup.folder / f"{name}.missing.json"
            runs[name] = Run(
                observed(setup.rows, Answers(decisions), setup.mix),
                tuple(json.loads(missing.read_text(encoding="utf-8"))) if missing.exists() else (),
                read_windows(setup.folder / f"{name}.cpu.jsonl"),
            )
    if CASCADE not in runs:
        raise ValueError(f"{setup.folder} holds no decisions about the videos of {setup.manifest}")
    return runs
