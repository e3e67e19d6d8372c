"""Kernels that only other kernels call: compiled to code that is linked into those, and no further.

numba links what a kernel calls into it, optimises all of that and makes machine code of it, and does so anew at each
step from the innermost kernel to the one that Python calls: with a dozen steps that is most of the time that compiling
takes. Kernels that Python never calls need no machine code of their own, and those that call others are optimised well
enough once, as part of the outermost. The loops at the bottom are still optimised by themselves first, which makes
them as fast as they were.

Imports numba: for `indexes.compilation` only.
"""

from __future__ import annotations

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.untyped_passes import IRProcessing


class _NoEngine:
    """In place of what keeps machine code."""

    @staticmethod
    def set_env(_name: str, _environment: Any) -> None:
        """Do nothing: only code that raises exceptions from Python objects looks there."""


class LinkedLibrary(JITCodeLibrary):
    """The code of one kernel and of all that it calls, to be linked into others."""

    @property
    def codegen(self) -> Any:
        """What keeps machine code: nothing."""
        return _NoEngine

    def get_pointer_to_function(self, _name: str) -> int:
        """Return 0: there is no machine code."""
        self._ensure_finalized()
        return 0

    def _optimize_final_module(self) -> None:
        if all(library.is_bottom for library in self._linking_libraries if isinstance(library, LinkedLibrary)):
            super()._optimize_final_module()

    @property
    def is_bottom(self) -> bool:
        """Whether the kernel calls no other."""
        return not any(isinstance(library, LinkedLibrary) for library in self._linking_libraries)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


_OVERRIDDEN = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
IS_POSSIBLE = all(hasattr(JITCodeLibrary, name) for name in (*_OVERRIDDEN, "_verify_declare_only_symbols"))
"""Whether numba is built as this module expects. Otherwise it compiles kernels in its own way, which takes longer."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _ChooseLibrary(AnalysisPass):
    _name = "choose_library"

    def __init__(self) -> None:  # numba's is abstract
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Choose the library that the code goes to; tell numba that the kernel itself has not changed."""
        state["library"] = LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class LinkedCompiler(CompilerBase):
    """numba's compiler, for kernels that only other kernels call."""

    def define_pipelines(self) -> list[Any]:
        """Return numba's own passes, and the choice of the library."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        if IS_POSSIBLE:
            passes.add_pass_after(_ChooseLibrary, IRProcessing)
        passes.finalize()
        return [passes]
