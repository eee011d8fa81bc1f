"""The command line of every script: Hydra's own, with help, and mistakes named in one sentence.

    @para_main(TrainConfig, examples=["model=para", "model=regression split=nf", ...])
    def main(cfg: TrainConfig) -> None: ...

Arguments are Hydra's: `group=option` (a file of configs/group/), `key=value`, `+experiment=name`,
-m for sweeps, its flags, launchers and sweepers. A value on the command line wins over the profile,
which wins over the defaults. Relative paths start where the user stands; Hydra itself leaves no
folder and no log file there (configs/_hydra.yaml).

Import this module before torch: it sets how idle OpenMP threads wait.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

# Idle OpenMP threads that spin starve the other processes on a small machine (345 -> 8 samples/s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from para.asides import sweep_scratch
from para.cli_help import help_text
from para.common import CommonConfig
from para.compose import (
    HYDRA_VERSION,
    NOTHING,
    Composer,
    Files,
    as_config_error,
    composing,
    instance,
    parse,
    plugins_of,
)
from para.diagnosis import diagnose
from para.errors import ConfigError, ParaError, UnknownNameError, did_you_mean, one_line
from para.fields import check
from para.files import without_collections
from para.places import typed
from para.refusals import refusal
from para.search_path import View, searching

log = logging.getLogger(__name__)

Config = TypeVar("Config", bound=CommonConfig)


def load_config(config_class: type[Config], overrides: Iterable[str] = ()) -> Config:
    """Compose configs/<script>.yaml with overrides, as instances of the dataclasses.

    Args:
        config_class: The script's keys.
        overrides: What one could write on the script's command line: `group=option`, `key=value`,
            `+experiment=name`, ...

    Raises:
        UnknownNameError: A key or a group option that does not exist; names the nearest ones.
        ConfigError: A value of the wrong type, or text that is not an override at all.
    """
    plugins = plugins_of(config_class, overrides)
    overrides = config_class.completed(list(overrides), plugins)
    view = View(config_class, plugins)
    with without_collections(), composing(view) as compose:
        try:
            return instance(config_class, compose(overrides))
        except Exception as error:
            diagnose(compose, overrides)
            raise as_config_error(error) from error


def para_main(
    config_class: type[Config], examples: Sequence[str]
) -> Callable[[Callable[[Config], None]], Callable[..., None]]:
    """Turn `main(cfg)` into a script that reads its configuration from the command line.

    Args:
        config_class: Its keys; `config_class.script` names the script and its YAML file.
        examples: Arguments of real calls, for --help.

    The script prints the message of a `ParaError`, or what the system refused (`para.refusals`),
    and exits with status 2; Ctrl-C exits with 130. With hydra.verbose=true a refusal also shows
    where it happened.
    """

    def decorate(main: Callable[[Config], None]) -> Callable[..., None]:
        def run(argv: Sequence[str] | None = None) -> None:
            try:
                call = _Call(config_class, sys.argv[1:] if argv is None else argv)
                if call.arguments.help:
                    with call.composing(outline=True) as compose:
                        sys.stdout.write(help_text(compose, main.__doc__ or "", examples))
                    sys.exit(0)
                call.check()
                sweep_scratch()
                call.run(main)
            except ParaError as error:
                _leave(f"error: {error}", 2)
            except KeyboardInterrupt as interrupt:
                message = str(interrupt) or "The same command goes on where it stopped."
                _leave(f"Interrupted. {message}", 130)
            except Exception as error:
                sentence = refusal(error)
                if sentence is None:
                    raise  # a bug, which needs its traceback
                log.debug("Where the system refused:", exc_info=error)
                _leave(f"error: {sentence}", 2)

        run.__doc__, run.__name__ = main.__doc__, main.__name__
        return run

    return decorate


class _Failed(BaseException):
    """Carries what a script's main raised past Hydra, which would write a headline of its own."""

    def __init__(self, error: Exception):
        self.error = error


class _JobError(Exception):
    """What went wrong in a job in another process, as text: it has to travel."""


class _Call:
    """One call of a script.

    Args:
        config_class: The script's keys.
        argv: Its arguments.

    Raises:
        ConfigError: A flag that does not exist, or a folder that does not.
    """

    def __init__(self, config_class: type[CommonConfig], argv: Sequence[str]):
        self.config_class = config_class
        self.arguments = _parse_arguments(config_class, argv)
        primary, more = (
            _folder(flag, getattr(self.arguments, flag.replace("-", "_")))
            for flag in ("config-path", "config-dir")
        )
        self.arguments.config_path = primary and str(primary)
        self.files = Files(self.arguments.config_name, primary, more)
        self.plugins = plugins_of(config_class, self.arguments.overrides, self.files)
        if not self.arguments.help:
            completed = config_class.completed(self.arguments.overrides, self.plugins)
            self.arguments.overrides = completed
        self.overrides: list[str] = self.arguments.overrides
        mode = [text for text in self.overrides if text.upper() == "HYDRA.MODE=MULTIRUN"]
        self.multirun = self.arguments.multirun or bool(mode)

    @contextmanager
    def composing(self, outline: bool = False) -> Iterator[Composer]:
        """What Hydra would compose for this call."""
        try:
            with composing(View(self.config_class, self.plugins, outline), self.files) as compose:
                yield compose
        except Exception as error:
            raise as_config_error(error) from error

    def check(self) -> None:
        """Name a mistake, as far as that is possible without importing components and torch."""
        if self.arguments.shell_completion:
            return
        for text in self.overrides:
            parse(text)
        with self.composing(outline=True) as compose:
            diagnose(compose, self.overrides, self.multirun)
        if self.arguments.cfg and (package := self.arguments.package) not in (None, "_global_"):
            with self.composing() as compose:
                cfg = compose(self.overrides, with_hydra=self.arguments.cfg != "job")
                if OmegaConf.select(cfg, package) is None:
                    raise UnknownNameError("package", one_line(package), map(str, cfg))

    def run(self, main: Callable[[Config], None]) -> None:
        """Let Hydra do what the flags say: run, sweep, show the configuration, complete, ..."""
        task = _task(self.config_class, main)
        view = View(self.config_class, self.plugins)
        name = self.files.name or self.config_class.script
        try:
            with searching(view), _hydra_reads(_canonical(self.arguments)):
                hydra.main(f"pkg://{NOTHING}", name, version_base=HYDRA_VERSION)(task)()
        except _Failed as failed:
            raise failed.error from failed.error.__cause__
        except _JobError as error:
            _leave(str(error), 1)
        except ParaError:
            raise
        except Exception as error:
            if not self.arguments.shell_completion:
                with self.composing() as compose:
                    diagnose(compose, self.overrides, self.multirun)
            raise as_config_error(error) from error


def plainly(main: Callable[[], None]) -> None:
    """Run what is no script but reads keys like one: what is wrong with them is said, status 2."""
    try:
        main()
    except ParaError as error:
        _leave(f"error: {error}", 2)


def say(text: str) -> None:
    """Write what a command has to tell to stdout, just as it is; logs go to stderr."""
    from rich.console import Console  # not before: --help and completion need none

    Console().print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def _task(
    config_class: type[Config], main: Callable[[Config], None]
) -> Callable[[DictConfig], None]:
    """What Hydra runs, here or in a launcher's process: `main` with a checked configuration."""
    home = os.getpid()

    @functools.wraps(main)  # Hydra names the job after the script
    def task(node: DictConfig) -> None:
        _log_to_stderr()
        _announce()
        try:
            try:
                cfg = instance(config_class, node)
                check(cfg)
            except Exception as error:
                raise ConfigError(one_line(as_config_error(error), 2000)) from error
            main(cfg)
        except Exception as error:
            if os.getpid() == home:
                raise _Failed(error) from None
            if isinstance(error, ParaError) or refusal(error):
                raise ParaError(refusal(error) or str(error)) from None
            raise _JobError(traceback.format_exc()) from None

    return task


def _announce() -> None:
    """Say which run of a sweep begins."""
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        log.info("Run %s: %s", job.job.num, " ".join(job.overrides.task))


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for package in ("para", "envs", "baselines"):
        logging.getLogger(package).setLevel(min(logging.INFO, logging.getLogger().level))


# --- arguments -----------------------------------------------------------------------------------

_SWITCHES = ("hydra_help", "resolve", "run", "multirun", "shell_completion")
_VALUES = ("cfg", "package", "config_path", "config_name", "config_dir", "info")


def _parse_arguments(config_class: type[CommonConfig], argv: Sequence[str]) -> argparse.Namespace:
    parser = get_args_parser()
    parser.prog = typed(config_class.script)
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def error(message: str) -> NoReturn:
        unknown = one_line(message, 300)
        word = unknown.rsplit(" ", 1)[-1]
        hint = f" {did_you_mean(word, flags)}" if word.startswith("-") else ""
        raise ConfigError(f"{unknown}.{hint}")

    parser.error = error  # type: ignore[method-assign]
    arguments = parser.parse_intermixed_args(list(argv))
    if arguments.experimental_rerun is not None:  # it would unpickle whatever the file holds
        error("unrecognized arguments: --experimental-rerun")
    return arguments


def _canonical(arguments: argparse.Namespace) -> list[str]:
    """The same arguments in an order in which argparse always understands them."""
    given = {name: getattr(arguments, name) for name in (*_SWITCHES, *_VALUES)}
    flags = [
        f"--{name.replace('_', '-')}" + (f"={value}" if name in _VALUES else "")
        for name, value in given.items()
        if value
    ]
    return [*flags, "--", *arguments.overrides]


def _folder(flag: str, path: str | None) -> Path | None:
    """A folder of YAML files that a flag names, made absolute from where the user stands."""
    if path is None:
        return None
    if not os.path.isdir(path):
        raise ConfigError(f"--{flag} {one_line(path)}: there is no such folder.")
    return Path(path).absolute()


@contextmanager
def _hydra_reads(argv: list[str]) -> Iterator[None]:
    """Hydra's main finds these arguments, and raises errors instead of printing them."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *argv]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def _leave(message: str, status: int) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(status)
