"""What the gate asks for: a TOML file of tolerances.

::

    tolerance = "0.1%"         # of every metric without its own: of the baseline's value, or a number in its unit
    inconclusive = "pass"      # or "fail": what to do where the interval reaches beyond the tolerance
    metrics = ["pixel", "t_acc.rapidocr"]      # groups or keys to gate; left out: everything that has an interval

    [metric.psnr]
    tolerance = 0.1            # dB
    required = true            # fail if it was not measured

    [metric."t_acc.rapidocr"]
    tolerance = "1%"
    groups = ["small"]         # also gate these size groups

    [metric.zipf_exponent]
    direction = "either"       # or "higher", "lower": needed where no direction is better
    tolerance = 0.05

    [speed]                    # only for times taken side by side in this job
    tolerance = "5%"
    rounds = 16
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from tokbench.comparison.margins import Margin, parse_margin
from tokbench.errors import UsageError

Direction = Literal["higher", "lower", "either"]
Outcome = Literal["pass", "fail"]

_TOP = ("tolerance", "inconclusive", "metrics", "metric", "speed")
_RULE = ("tolerance", "direction", "required", "groups")
_SPEED = ("tolerance", "rounds")
MIN_ROUNDS, MAX_ROUNDS = 12, 200  # with 12, a hundred gates can still fail: the smallest p-value is 0.0005


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One metric's.

    ``tolerance`` None takes the general one, ``direction`` None the metric's own; ``groups`` are size groups that are
    gated as well.
    """

    tolerance: Margin | None = None
    direction: Direction | None = None
    required: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """The whole file; see this module's first lines.

    By default a tenth of a percent is tolerated: above what another machine's rounding does, below what anyone would
    call a regression.
    """

    tolerance: Margin = field(default_factory=lambda: Margin(amount=0.001, is_relative=True))
    inconclusive: Outcome = "pass"
    metrics: tuple[str, ...] = ("all",)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    speed_tolerance: Margin = field(default_factory=lambda: Margin(amount=0.1, is_relative=True))
    rounds: int = 16


def read_config(path: Path) -> GateConfig:
    """Read the file; raises UsageError with everything that is wrong in it."""
    try:
        row = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror or err}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise UsageError(f"{path} is not TOML: {err}") from err
    return parse_config(row, where=str(path))


def parse_config(row: Mapping[str, Any], *, where: str) -> GateConfig:
    """The configuration from parsed TOML; raises UsageError with everything that is wrong."""
    reader = _Reader()
    reader.known(row, _TOP, "")
    speed = reader.table(row, "speed")
    reader.known(speed, _SPEED, "speed.")
    rules = {}
    for key, rule in reader.table(row, "metric").items():
        if not isinstance(rule, Mapping):
            reader.errors.append(f"metric.{key} is {rule!r}, expected a table: [metric.{key}]")
            continue
        at = f"metric.{key}."
        reader.known(rule, _RULE, at)
        rules[key] = Rule(
            tolerance=reader.margin(rule, "tolerance", at),
            direction=reader.choice(rule, "direction", at, get_args(Direction)),
            required=reader.flag(rule, "required", at),
            groups=reader.names(rule, "groups", at, default=()),
        )
    default = GateConfig()
    speed_tolerance = reader.margin(speed, "tolerance", "speed.") or default.speed_tolerance
    if not speed_tolerance.is_relative:
        reader.errors.append(f'speed.tolerance is {speed_tolerance}; times differ by machine, so expected "10%"')
    made = GateConfig(
        tolerance=reader.margin(row, "tolerance", "") or default.tolerance,
        inconclusive=reader.choice(row, "inconclusive", "", get_args(Outcome)) or default.inconclusive,
        metrics=reader.names(row, "metrics", "", default=default.metrics),
        rules=rules,
        speed_tolerance=speed_tolerance,
        rounds=reader.rounds(speed, default.rounds),
    )
    if reader.errors:
        raise UsageError(f"{where}:" + "".join(f"\n  {error}" for error in reader.errors))
    return made


class _Reader:
    """Takes values out of tables and collects what is wrong with them."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def known(self, row: Mapping[str, Any], names: tuple[str, ...], at: str) -> None:
        self.errors += [
            f"{at}{name} is not an option; options: {', '.join(at + known for known in names)}"
            for name in row
            if name not in names
        ]

    def table(self, row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = row.get(name, {})
        if isinstance(value, Mapping):
            return value
        self.errors.append(f"{name} is {value!r}, expected a table")
        return {}

    def margin(self, row: Mapping[str, Any], name: str, at: str) -> Margin | None:
        if name not in row:
            return None
        try:
            return parse_margin(row[name], where=at + name)
        except UsageError as err:
            self.errors.append(str(err))
            return None

    def choice(self, row: Mapping[str, Any], name: str, at: str, choices: tuple[Any, ...]) -> Any:
        value = row.get(name)
        if value is None or value in choices:
            return value
        self.errors.append(f"{at}{name} is {value!r}, expected one of {', '.join(choices)}")
        return None

    def flag(self, row: Mapping[str, Any], name: str, at: str) -> bool:
        value = row.get(name, False)
        if not isinstance(value, bool):
            self.errors.append(f"{at}{name} is {value!r}, expected true or false")
            return False
        return value

    def names(self, row: Mapping[str, Any], name: str, at: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        value = row.get(name, list(default))
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.errors.append(f"{at}{name} is {value!r}, expected a list of names")
        return default

    def rounds(self, row: Mapping[str, Any], default: int) -> int:
        value = row.get("rounds", default)
        if isinstance(value, bool) or not isinstance(value, int) or not MIN_ROUNDS <= value <= MAX_ROUNDS:
            self.errors.append(f"speed.rounds is {value!r}, expected a whole number, {MIN_ROUNDS} to {MAX_ROUNDS}")
            return default
        return value
