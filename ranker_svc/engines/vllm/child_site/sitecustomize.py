"""Run by Python at its start where this directory is on PYTHONPATH: prepares for `import torchvision`.

vLLM's processes import torchvision while they unpickle their arguments, before any plugin of vLLM runs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds nothing; the first time that torchvision is looked for, it declares the operators that may be missing."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            from services.torchvision_compat import ensure_torchvision

            ensure_torchvision()


def _run_shadowed() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    here = Path(__file__).parent
    others = [entry for entry in sys.path if entry and Path(entry).resolve() != here.resolve()]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


sys.meta_path.insert(0, _BeforeTorchvision())
_run_shadowed()
