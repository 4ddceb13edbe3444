"""A simulated experiment from manifest to report; what was decided is kept, and gone on with."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from offline.evaluation.asking import Answers, Question, ask_all
from offline.evaluation.collect import question
from offline.evaluation.report import as_json
from offline.evaluation.run import allowed_missing, check_name, require_known
from offline.evaluation.sample import described, require_labels
from offline.evaluation.store import Store, identity
from offline.experiment.design import ARMS, Arm, Design, Rule, arm_of, ratio_check, traffic
from offline.experiment.outcome import Upshot, outcome
from offline.experiment.report import Report, render
from offline.manifest import Labelled, traffic_weights


@dataclass(frozen=True)
class Setup:
    """What is compared, on which traffic, and where things are written."""

    rows: Sequence[Labelled]
    manifest: str
    mix: Mapping[str, float] | None
    synthetic: bool
    design: Design
    control_url: str
    treatment_url: str
    control: Rule
    treatment: Rule
    folder: Path
    out: Path
    name: str
    command: str
    concurrency: int = 3
    api_key: SecretStr | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        require_labels(self.rows, self.manifest)


def run(setup: Setup, console: Console) -> Report:
    """Send the traffic, write `NAME.md` and `NAME.json`.

    Raises:
        WinnowError, ValueError, OSError: see ask_all and Store; what was decided is kept.
    """
    uploads = traffic(setup.design, traffic_weights(setup.rows, setup.mix))
    videos = {upload.user: upload.video for upload in uploads}
    answers: dict[Arm, Answers] = {}
    for arm in ARMS:
        url = setup.control_url if arm == "control" else setup.treatment_url
        asked = [
            replace(question(url, setup.rows[each.video]), id=each.user)
            for each in uploads
            if arm_of(each.user, setup.design) == arm
        ]
        answers[arm] = asyncio.run(_ask(setup, arm, asked, console))
    made = report_of(setup, videos, answers)
    setup.out.mkdir(parents=True, exist_ok=True)
    (setup.out / f"{setup.name}.json").write_text(as_json(made), encoding="utf-8")
    (setup.out / f"{setup.name}.md").write_text(render(made), encoding="utf-8")
    return made


def report_of(setup: Setup, videos: Mapping[str, int], answers: Mapping[Arm, Answers]) -> Report:
    """What the answers say. Pure.

    Args:
        setup: of the experiment.
        videos: index of each user's video in the rows.
        answers: of each arm, by user.
    """
    rules: dict[Arm, Rule] = {"control": setup.control, "treatment": setup.treatment}
    upshots = [
        Upshot(
            arm, videos[user], setup.rows[videos[user]].kind, setup.rows[videos[user]].truth,
            frozenset(issue.id for issue in decision.issues if rules[arm].acts(issue)),
        )
        for arm in ARMS
        for user, decision in answers[arm].decisions.items()
    ]  # fmt: skip
    ratio = ratio_check(len(answers["control"].decisions), len(answers["treatment"].decisions), setup.design)
    decisions = [decision for arm in ARMS for decision in answers[arm].decisions.values()]
    issues = [issue.id for issue in decisions[0].issues]
    found, average = outcome(upshots, issues)
    return Report(
        name=setup.name,
        command=setup.command,
        manifest=setup.manifest,
        traffic=described(setup.mix, setup.rows),
        synthetic=setup.synthetic,
        salt=setup.design.salt,
        rules={arm: str(rules[arm]) for arm in ARMS},
        models={arm: _models(answers[arm]) for arm in ARMS},
        drawn=setup.design.requests,
        videos=(len(set(videos.values())), len(setup.rows)),
        ratio=ratio,
        trusted=ratio.passed,
        lines=found,
        average=average,
        cached=sum(decision.route == "cached" for decision in decisions),
        missing={arm: list(answers[arm].missing.values()) for arm in ARMS if answers[arm].missing},
    )


async def _ask(setup: Setup, arm: Arm, asked: Sequence[Question], console: Console) -> Answers:
    with Store(setup.folder / f"{arm}.jsonl") as store:
        for first in asked[:1]:
            quiet = Console(quiet=True)
            probe = await ask_all([first], quiet, what=arm, store=store, allowed_missing=1, api_key=setup.api_key)
            require_known(setup.rows, probe)
        return await ask_all(
            asked, console, what=arm, store=store, concurrency=setup.concurrency,
            allowed_missing=allowed_missing(len(asked)), api_key=setup.api_key,
        )  # fmt: skip


def _models(answers: Answers) -> dict[str, str]:
    found: dict[str, str] = {}
    for decision in answers.decisions.values():
        found |= identity(decision)
    return found
