"""A helper process with vLLM's offline `LLM`: the ranker's prompts, frames and engine arguments, and no more.

`generate` reads the log-probabilities of the ranker's tokens for Yes and No, as its engine does; `classify` is vLLM's
pooling conversion, which makes a classifier of the rows of two tokens of the output matrix.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

from ranker_svc.engines.prompting import Prompting
from ranker_svc.engines.vllm.arguments import engine_arguments
from ranker_svc.engines.vllm.cores import keep_off, model_cores
from ranker_svc.engines.yes_no import AnswerTokens
from ranker_svc.settings import Settings
from tests.bench.helper import Command, serve
from tests.bench.ranker_requests import Asked, images, jpegs

PAIR = ("No", "Yes")


def _pooling(pieces: Sequence[str]) -> dict[str, Any]:
    """Engine arguments of the conversion; pieces of the vocabulary, that of No first."""
    return {
        "runner": "pooling",
        "convert": "classify",
        "hf_overrides": {"classifier_from_token": list(pieces), "method": "from_2_way_softmax"},
    }


class Offline:
    """One `LLM`, started by the first command."""

    def __init__(self) -> None:
        self._llm: Any = None
        self._classify = False
        self._prompting: Any = None
        self._tokens: AnswerTokens | None = None
        self._pair: tuple[int, ...] = ()

    def __call__(self, command: Command) -> dict[str, Any]:
        match command["do"]:
            case "start":
                return self._start(command["settings"], classify=command["classify"], stock=command.get("stock", False))
            case "run":
                return self._run(Asked(**command["asked"]), command["first"], command["count"])
            case other:
                raise ValueError(f"no such command: {other}")

    def _start(self, settings: dict[str, Any], *, classify: bool, stock: bool) -> dict[str, Any]:
        from transformers import AutoConfig, AutoProcessor
        from vllm import LLM, EngineArgs
        from vllm.platforms import current_platform

        ranker = Settings(**settings)
        source = {"local_files_only": True}
        processor = AutoProcessor.from_pretrained(ranker.model, **source)
        config = AutoConfig.from_pretrained(ranker.model, **source)
        self._prompting = Prompting(processor, config, max_frames=ranker.max_frames)
        family = self._prompting.family.engine_arguments(ranker.max_frames)
        arguments = engine_arguments(ranker, family, cpu=current_platform.is_cpu())
        # The spelling that follows the bundled template; the conversion counts one of each answer.
        self._pair = tuple(processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][-1] for word in PAIR)
        pieces = processor.tokenizer.convert_ids_to_tokens(self._pair)
        if stock:
            # On a CPU vLLM then gives the model a process of its own, and binds that to cores.
            arguments.pop("distributed_executor_backend", None)
        arguments |= _pooling(pieces) if classify else {}
        with model_cores(EngineArgs(**arguments).create_engine_config()) as cores:
            self._llm = LLM(**arguments)
        keep_off(cores)
        self._classify = classify
        self._tokens = self._prompting.answer_tokens()
        return {"pair": pieces, "spellings": len(self._tokens.yes) + len(self._tokens.no)}

    def _run(self, asked: Asked, first: int, count: int) -> dict[str, Any]:
        """Asks all prompts of the requests in one call; frames are decoded and prompts made before the clock starts."""
        texts = asked.prompts()
        prompts: list[Any] = []
        for number in range(first, first + count):
            frames = images(jpegs(number, asked.side))
            media = {
                "multi_modal_data": self._prompting.media(frames),
                "multi_modal_uuids": self._prompting.media_ids(frames),
            }
            prompts += [{"prompt_token_ids": self._prompting.tokens(text, frames), **media} for text in texts]
        started, cpu = time.perf_counter(), time.process_time()
        outputs = self._ask(prompts)
        elapsed, used = time.perf_counter() - started, time.process_time() - cpu
        assert self._tokens is not None
        p_yes = [self._p_yes(output, self._tokens.yes, self._tokens.no) for output in outputs]
        return {
            "elapsed": elapsed,
            "front_cpu": used,
            "p_yes": {first + index: p_yes[index * len(texts) :][: len(texts)] for index in range(count)},
            "p_pair": [self._p_yes(output, self._pair[1:], self._pair[:1]) for output in outputs],
        }

    def _ask(self, prompts: Sequence[Any]) -> Sequence[Any]:
        if self._classify:
            return list(self._llm.classify(prompts, use_tqdm=False))
        from vllm import SamplingParams

        assert self._tokens is not None
        parameters = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            logprob_token_ids=[*self._tokens.yes, *self._tokens.no],
            detokenize=False,
        )
        return list(self._llm.generate(prompts, parameters, use_tqdm=False))

    def _p_yes(self, output: Any, yes: Sequence[int], no: Sequence[int]) -> float:
        """p(Yes) among these tokens; a classifier knows its own two alone."""
        if self._classify:
            return float(output.outputs.probs[0])
        found = output.outputs[0].logprobs[0]
        each = [sum(math.exp(found[token].logprob) for token in tokens) for tokens in (yes, no)]
        return each[0] / sum(each)


if __name__ == "__main__":
    serve(Offline())
