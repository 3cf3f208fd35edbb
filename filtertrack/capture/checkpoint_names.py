"""Reads epochs, steps and metrics from the names of checkpoint files.

The names of all files are compared: the step is the number that differs between them, so that
constant numbers, as in ``resnet50-epoch_3.keras``, are not taken for it.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from filtertrack.errors import FiltertrackError, counted, listed, printable
from filtertrack.snapshot import Moment

ADVICE = "give the steps (--steps), or a template such as 'ckpt-{epoch:03d}-{val_loss:.2f}.keras'"
"""What to do where the names do not tell the steps, for messages."""

_ENDINGS = re.compile(
    r"(\.(keras|weights|h5|hdf5|json|safetensors|pt|pth|bin|ckpt|index))+$", re.IGNORECASE
)
_NUMBER = (
    r"[0-9]+(?=\.[0-9]+\.[0-9])"
    r"|[0-9]+(?:\.[0-9]+)?(?:(?:[eE][-+]?[0-9]+|[kKM])(?![0-9A-Za-z]))?"
)
"""A number, as in ``500``, ``0.31``, ``1e-05`` or ``10k``. In ``3.0.91`` the first is whole."""
_ZEROS = {"k": 3, "K": 3, "M": 6}
"""The powers of ten that letters after a number stand for."""
_NAMED_NUMBER = re.compile(
    r"(?:(?P<equated>[A-Za-z](?:[A-Za-z_]|top_?[0-9]+)*[0-9]?)="
    r"|(?P<word>[A-Za-z][A-Za-z_]*)?(?P<gap>[=_:. -]*?))"
    rf"(?P<sign>-?)(?P<number>{_NUMBER})"
)
_MONTH = "(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*[-_ .]?"
_DATE = re.compile(
    r"(?<![0-9])(?:(?P<year_first>(?:19|20)[0-9]{2}"
    r"(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?P<mark>[-_. ])(?:1[0-2]|0?[1-9])(?P=mark)(?:[12][0-9]|3[01]|0?[1-9])))"
    r"|[0-3][0-9](?P<other_mark>[-.])[0-3][0-9](?P=other_mark)(?:19|20)[0-9]{2}"
    rf"|[0-3]?[0-9][-_ .]?{_MONTH}(?:19|20)[0-9]{{2}}"
    rf"|{_MONTH}[0-3]?[0-9](?=[_ -][0-2][0-9][-_:.][0-5][0-9]))"
    r"(?:[T_ /.@-]*(?:[01][0-9]|2[0-3])[-_:.h]?[0-5][0-9](?:[-_:.m]?[0-5][0-9])?)?(?![0-9])"
)
"""A date, with the time of day if it follows: ``2024-01-05_12-30``, ``20240105``, ``05.01.2024``,
``5Jan2024``, ``Jan05_12-30``."""
_YEAR_FIRST, _YEAR_LAST = "year first", "year last"
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][^{}:!,]*)(?::([^{}]*))?\}")
_WILDCARD = re.compile(r"(\*\*/|\*+|\?|\[[^\]]+\])")
_WITHOUT_NUMBER = re.compile(r"(?<![a-z])(best|last|latest|final)(?![a-z])", re.IGNORECASE)
_EPOCH = {"epoch", "epochs", "ep", "e"}
_STEP = {"step", "steps", "iter", "iters", "iteration", "iterations", "it", "batch", "batches"}
_BATCH = "batch"
_WEIGHTS = "weights"
_CHECKPOINT = {"", "ckpt", "checkpoint", "chkpt", "cp", "model", _WEIGHTS, "snapshot"}
"""Words before the number of a single file, whose number cannot be compared with others."""
_METRIC = re.compile(
    "loss|acc|accuracy|error|err|mae|mse|rmse|mape|auc|f1|iou|miou|dice|precision|recall|psnr|ssim"
    "|lr|perplexity|ppl|bleu|kappa|fid|map|score"
)
_MOST = 10**12
"""Steps are smaller: see ``Moment``."""
_LONGEST_NOTE = 100
_BY_NAME = "order of the names"

Key = tuple[str, int]
"""The word before a number, and which of the numbers after this word it is."""


@dataclass(frozen=True, slots=True)
class NameReading:
    """What the names of files tell.

    Attributes:
        moments: The moment of each file; None for a file that has no number although the others do.
        origin: Where the steps come from, such as ``"epoch in the name"``.
        remarks: Sentences about numbers that were not used.
    """

    moments: tuple[Moment | None, ...]
    origin: str
    remarks: tuple[str, ...] = ()


class Template:
    """A pattern with placeholders in the syntax of the ``filepath`` of Keras's ``ModelCheckpoint``.

    Args:
        text: Such as ``"ckpt-{epoch:03d}-{val_loss:.2f}.keras"``; wildcards are allowed.

    Raises:
        FiltertrackError: If it has no placeholder for a step.

    Attributes:
        pattern: The pattern with ``*`` for each placeholder.

    Example:
        >>> template = Template("ckpt-{epoch:03d}-{val_loss:.2f}.keras")
        >>> template.pattern, template.values("ckpt-012-0.31.keras")
        ('ckpt-*-*.keras', {'epoch': 12.0, 'val_loss': 0.31})
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.pattern = _PLACEHOLDER.sub("*", text)
        self._names: list[str] = []
        expression, end = "", 0
        for found in _PLACEHOLDER.finditer(text):
            expression += _expression(text[end : found.start()])
            expression += self._group(found[1], found[2] or "")
            end = found.end()
        self._expression = re.compile(expression + _expression(text[end:]))
        if not _EPOCH.union(_STEP) & set(self._names):
            raise FiltertrackError(
                f"{text!r}: expected a placeholder for the step, {{epoch}}, {{step}} or {{batch}}"
            )

    @staticmethod
    def is_one(text: str) -> bool:
        """Whether a pattern has placeholders."""
        return bool(_PLACEHOLDER.search(text))

    def _group(self, name: str, form: str) -> str:
        """Return the regular expression of a placeholder: a new group, or the same text again."""
        if name in self._names:
            return f"(?:{_number_expression(name, form)})"
        self._names.append(name)
        return f"({_number_expression(name, form)})"

    def values(self, name: str) -> dict[str, float] | None:
        """Return the number of each placeholder in a name; None if the name does not fit."""
        match = self._expression.fullmatch(name)
        if match is None:
            return None
        texts = zip(self._names, match.groups(), strict=True)
        return {name: _value(text) for name, text in texts}


def _expression(literal: str) -> str:
    """Return the regular expression of a text with wildcards."""
    wildcards = {"**/": "(?:.*/)?", "?": "[^/]"}
    return "".join(
        wildcards.get(part, "[^/]*" if part.startswith("*") else part.replace("[!", "[^"))
        if number % 2
        else re.escape(part)
        for number, part in enumerate(_WILDCARD.split(literal))
    )


def _number_expression(name: str, form: str) -> str:
    """Return the regular expression of a number in a format such as ``03d`` or ``.2f``."""
    if name in _EPOCH | _STEP:
        width = re.fullmatch(r"0([0-9]+)d?", form)
        return f"[0-9]{{{width[1]},}}" if width else " *[0-9]+"
    found = re.search(r"(?:\.([0-9]+))?([A-Za-z%]?)$", form)
    precision, kind = (found[1], found[2].lower()) if found else (None, "")
    digits = "[0-9,_]+" if set(form) & {",", "_"} else "[0-9]+"
    decimals = f"\\.[0-9]{{{precision or 6}}}" if precision != "0" else ""
    body = {
        "f": digits + decimals,
        "e": f"[0-9]{decimals}[eE][-+][0-9]+",
        "%": f"{digits}{decimals}%",
        "d": digits,
    }.get(kind, rf"{digits}(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
    return f"[ +-]*(?:{body}|nan%?|inf%?|NAN|INF) *"


def _value(text: str) -> float:
    plain = re.sub("[ ,_]", "", text)
    return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)


class _Field(NamedTuple):
    """A number in a name.

    Attributes:
        text: Its digits.
        sign: ``"-"`` for a minus sign, ``"?"`` for a hyphen after a word, which may be a minus
            sign or separate the two; else empty.
        date: For a part of a date, or of the time of day after it, ``"year first"`` if natural
            order is the order of time, else ``"year last"``; empty for other numbers.
    """

    text: str
    sign: str = ""
    date: str = ""

    @property
    def is_count(self) -> bool:
        """Whether it may be a step."""
        return self.text.isdecimal() and self.sign != "-" and float(self.text) < _MOST

    def value(self, *, negative: bool) -> float:
        """Return the number.

        Args:
            negative: Whether a hyphen after a word is a minus sign.
        """
        number = float(self.text)
        return -number if self.sign == "-" or (self.sign and negative) else number


Fields = Mapping[Key, _Field]


class _Counter(NamedTuple):
    """The numbers that give the steps.

    Attributes:
        origin: Where the steps come from, for the user.
        keys: The keys of the numbers.
        steps: For each file, whole numbers that order the files.
        moment: Makes the moment of a file from them.
    """

    origin: str
    keys: tuple[Key, ...]
    steps: list[tuple[int, ...]]
    moment: Callable[[tuple[int, ...]], Moment]


def read_names(names: Sequence[str], *, keep_order: bool = False) -> NameReading:
    """Read the moments of checkpoint files from their names.

    The step is a number after a word such as ``epoch`` or ``step``, else the only whole number that
    differs between the names; beside a metric such as ``val_loss`` it is an epoch. Where there is
    none, or only dates and times differ, the files are counted from 1 in the natural order of their
    names, in which 2 comes before 10. Other numbers after a word are metrics.

    Args:
        names: The names, which may have folders; each once.
        keep_order: Count files without a step in the order given.

    Returns:
        The reading. A file named as best, last or final without a number has no moment if the
        others have one.

    Raises:
        FiltertrackError: If two files have the same step, or several numbers may be the step.

    Example:
        >>> reading = read_names(["epoch_2-loss0.5.keras", "epoch_10-loss0.4.keras"])
        >>> [(moment.step, dict(moment.metrics)) for moment in reading.moments]
        [(2, {'loss': 0.5}), (10, {'loss': 0.4})]
    """
    fields = [_fields_of(name) for name in names]
    numbered = list(range(len(names)))
    counter = _counter_of(names, fields, keep_order=keep_order)
    if counter is None:
        numbered = [n for n in numbered if not _WITHOUT_NUMBER.search(_stem(names[n]))]
        if 0 < len(numbered) < len(names):
            counter = _counter_of(
                [names[n] for n in numbered], [fields[n] for n in numbered], keep_order=keep_order
            )
    if counter is None:
        numbered = list(range(len(names)))
        counter = _in_order(names, keep_order=keep_order)
    metrics, remarks = _metrics_of([fields[n] for n in numbered], counter.keys)
    if counter.origin == _BY_NAME and len(names) > 1 and any(metrics):
        remarks.append(
            f"files are in the order of their names, which may be that of the metrics in them: "
            f"{ADVICE}"
        )
    moments: list[Moment | None] = [None] * len(names)
    for number, steps, values in zip(numbered, counter.steps, metrics, strict=True):
        moments[number] = replace(counter.moment(steps), metrics=values)
    return NameReading(tuple(moments), counter.origin, tuple(remarks))


def read_by_template(names: Sequence[str], template: Template) -> NameReading:
    """Read the moments of files by a template: see ``read_names``.

    A file whose name does not fit has no moment.

    Raises:
        FiltertrackError: If two files have the same step.
    """
    values = [_storable(template.values(name)) for name in names]
    fitting = [n for n, found in enumerate(values) if found is not None]
    counts = [
        {
            (key, 0): _Field(str(int(value)))
            for key, value in (values[n] or {}).items()
            if key in _EPOCH | _STEP
        }
        for n in fitting
    ]
    moments: list[Moment | None] = [None] * len(names)
    counter = _counter_of([names[n] for n in fitting], counts) if fitting else None
    for number, steps in zip(fitting, counter.steps if counter else (), strict=True):
        metrics = {k: v for k, v in (values[number] or {}).items() if k not in _EPOCH | _STEP}
        moments[number] = replace(counter.moment(steps), metrics=metrics) if counter else None
    return NameReading(tuple(moments), f"{counter.origin if counter else 'step'}, by the template")


def _storable(values: dict[str, float] | None) -> dict[str, float] | None:
    """Return the values of a name; None if there are none, or a step is too large."""
    if values is None or any(values[key] >= _MOST for key in values.keys() & (_EPOCH | _STEP)):
        return None
    return values


def given_moment(step: int, metrics: Mapping[str, float] | None = None) -> Moment:
    """Return the moment of a step that the user gives.

    Step 0 has a note: without one it would be described as the weights before training, which is
    not known of it.

    Raises:
        FiltertrackError: If it is no whole number from 0 on.
    """
    return Moment(step, 0, metrics=metrics or {}, note="" if step else "step 0")


def natural_order(name: str) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """Return a key that sorts names so that 2 comes before 10; ``-``, ``_`` and space are alike.

    Example:
        >>> sorted(["a_10", "a 2", "A-1"], key=natural_order)
        ['A-1', 'a 2', 'a_10']
    """
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    numbers = ((text, digits, digits.lstrip("0")) for text, digits in parts)
    alike = tuple(
        (re.sub("[-_]", " ", text.casefold()), len(number) if digits else -1, number)
        for text, digits, number in numbers
    )
    return alike, name


def missing_epochs(epochs: Sequence[int]) -> str:
    """Describe the gaps in ascending epochs, such as ``"4, 5, 9 to 12"``; empty if there are none.

    Files of every fifth epoch have no gaps: the distance is the greatest common divisor.

    Example:
        >>> missing_epochs([1, 2, 3, 6, 8, 13]), missing_epochs([5, 10, 15])
        ('4, 5, 7, 9 to 12', '')
    """
    distances = [after - before for before, after in pairwise(epochs)]
    distance = math.gcd(*distances) or max(epochs, default=0)
    if not distance:
        return ""
    first = epochs[0] % distance or (0 if epochs[0] == 0 else distance)
    ranges: list[str] = []
    for before, after in zip([first - distance, *epochs], epochs, strict=False):
        absent = range(before + distance, after, distance)
        if len(absent) > 2:
            ranges.append(f"{absent[0]} to {absent[-1]}")
        else:
            ranges += map(str, absent)
    return listed(ranges)


def _stem(name: str) -> str:
    """Return a name without the endings of checkpoint files."""
    return _ENDINGS.sub("", name)


def _fields_of(name: str) -> dict[Key, _Field]:
    """Return the numbers in a name by the words before them."""
    found: dict[Key, _Field] = {}
    # Without dots, the numbers of a date are whole.
    stem = _DATE.sub(lambda date: date[0].replace(".", "-"), _stem(name))
    dates = list(_DATE.finditer(stem))
    for match in _NAMED_NUMBER.finditer(stem):
        word = (match["equated"] or match["word"] or "").strip("_")
        before = stem[match.start("sign") - 1 : match.start("sign")]
        sign = match["sign"]
        if sign and before.isalpha():
            sign = "?"
        elif sign and before.isdecimal():
            sign = ""
        if _last_word(word) in _EPOCH | _STEP and not _is_metric(word):
            word = _last_word(word)
        occurrence = sum(key == word for key, _ in found)
        date = next((each for each in dates if each.start() <= match.end() <= each.end()), None)
        order = "" if date is None else _YEAR_FIRST if date["year_first"] else _YEAR_LAST
        found[word, occurrence] = _Field(_plain(match["number"]), sign, order)
    return found


def _plain(number: str) -> str:
    """Return a number without the letter for thousands or millions.

    Example:
        >>> _plain("10k"), _plain("1.5M"), _plain("0.31")
        ('10000', '1500000', '0.31')
    """
    zeros = _ZEROS.get(number[-1])
    if zeros is None:
        return number
    whole, _, fraction = number[:-1].partition(".")
    digits = fraction.rstrip("0").ljust(zeros, "0")
    rest = digits[zeros:]
    return f"{whole}{digits[:zeros]}" + (f".{rest}" if rest else "")


def _last_word(key: str) -> str:
    return re.split("[_/]", key)[-1].lower()


def _is_metric(key: str) -> bool:
    return "val_" in key or bool(_METRIC.fullmatch(_last_word(key)))


def _counter_of(
    names: Sequence[str], fields: Sequence[Fields], *, keep_order: bool = False
) -> _Counter | None:
    """Choose the numbers that give the steps; None if there are none.

    Args:
        names: The names.
        fields: Their numbers.
        keep_order: Whether files whose names differ in dates only are counted in the order given.

    Raises:
        FiltertrackError: If two files have the same step, or several numbers may be the step.
    """
    counts = [
        key
        for key in fields[0]
        if all(key in each and each[key].is_count for each in fields) and not _is_metric(key[0])
    ]
    columns = {key: [int(each[key].text) for each in fields] for key in counts}
    epochs = _epochs_among(counts, fields[0])
    steps = [key for key in counts if _last_word(key[0]) in _STEP]
    alone = len(fields) == 1
    others = [
        key
        for key in counts
        if key not in {*epochs, *steps}
        and (key[0].lower() in _CHECKPOINT if alone else len(set(columns[key])) > 1)
    ]
    pair = [epochs[0], steps[0]] if epochs and steps else []
    if pair and _last_word(pair[1][0]) == _BATCH and _is_distinct(columns, pair):
        return _pair_of(columns, pair)
    for key in (*epochs, *steps):
        if _is_distinct(columns, [key]):
            return _single(columns, key, "epoch" if key in epochs else "step")
    if pair and _is_distinct(columns, pair):
        return _pair_of(columns, pair)
    varying = [key for key in (*epochs, *steps) if len(set(columns[key])) > 1]
    if alone:
        others = [key for key in others if not fields[0][key].date][-1:]
    if others and not varying:
        dates = {each[key].date for key in others for each in fields}
        if "" not in dates:
            _check_dates(names, dates, len(others))
            return _in_order(names, keep_order=keep_order, why=", which differ in dates")
        _refuse_several(names[0], [fields[0][key].text for key in others])
        if _is_distinct(columns, others):
            # Keras validates after epochs only.
            validated = any(_metric_name(key[0]).startswith("val_") for key in fields[0])
            return _single(columns, others[0], "epoch" if validated else "number")
    if repeated := [*varying, *others]:
        _refuse_repeated(names, columns[repeated[0]])
    return None


def _epochs_among(counts: Sequence[Key], first: Fields) -> list[Key]:
    """Return the keys of epochs among those of whole numbers."""
    epochs = [key for key in counts if _last_word(key[0]) in _EPOCH]
    if not epochs and any(key[0] == "" and "." in first[key].text for key in first):
        # As in ModelCheckpoint's documentation: weights.{epoch:02d}-{val_loss:.2f}.
        epochs = [key for key in counts if key[0].lower() == _WEIGHTS]
    return epochs


def _is_distinct(columns: Mapping[Key, Sequence[int]], keys: Sequence[Key]) -> bool:
    rows = list(zip(*(columns[key] for key in keys), strict=True))
    return len(set(rows)) == len(rows)


def _single(columns: Mapping[Key, Sequence[int]], key: Key, unit: str) -> _Counter:
    def moment(steps: tuple[int, ...]) -> Moment:
        (step,) = steps
        if unit != "epoch":
            return given_moment(step)
        return Moment(step, step, note="" if step else "epoch 0")

    return _Counter(f"{unit} in the name", (key,), [(step,) for step in columns[key]], moment)


def _pair_of(columns: Mapping[Key, Sequence[int]], keys: Sequence[Key]) -> _Counter:
    """Return the steps of files that are named by an epoch and a batch of it, both from 1 on."""
    rows = list(zip(*(columns[key] for key in keys), strict=True))
    rank = {row: number for number, row in enumerate(sorted(rows), start=1)}
    first = min(1, *columns[keys[0]])

    def moment(row: tuple[int, ...]) -> Moment:
        epoch, batch = row
        return Moment(rank[row], epoch - first, epoch_batch=batch)

    return _Counter("epoch and batch in the name", tuple(keys), rows, moment)


def _check_dates(names: Sequence[str], dates: Collection[str], differing: int) -> None:
    """Check that the natural order of names that differ in dates is the order of time.

    Args:
        names: The names.
        dates: The kinds of their dates.
        differing: How many of their numbers differ.

    Raises:
        FiltertrackError: If it may be another one.
    """
    texts = {re.sub("[0-9]+", "", name) for name in names}  # with the names of months
    if set(dates) != {_YEAR_FIRST} and (differing > 1 or len(texts) > 1):
        raise FiltertrackError(
            f"{names[0]!r} and the other names differ in dates, of which several numbers may give "
            f"the order; {ADVICE}"
        )


def _refuse_several(name: str, numbers: Sequence[str]) -> None:
    """Raise the error for several numbers that may be the step."""
    if len(numbers) > 1:
        raise FiltertrackError(
            f"{counted(len(numbers), 'numbers')} of {name!r} differ between the files "
            f"({listed(list(numbers))}), and each may be the step; {ADVICE}"
        )


def _refuse_repeated(names: Sequence[str], steps: Sequence[int]) -> None:
    """Raise the error for two files of the same step."""
    seen: dict[int, str] = {}
    for name, step in zip(names, steps, strict=True):
        if step in seen:
            raise FiltertrackError(
                f"{seen[step]!r} and {name!r} have the same step, {step}; choose one of them, or "
                f"{ADVICE}"
            )
        seen[step] = name


def _metrics_of(
    fields: Sequence[Fields], used: Sequence[Key]
) -> tuple[list[dict[str, float]], list[str]]:
    """Return the metrics of each file, and remarks about numbers without a name."""
    metrics: list[dict[str, float]] = [{} for _ in fields]
    remarks = []
    # Without a step, a number after an unknown word may be a version, as in net1.5.
    for key in dict.fromkeys(key for each in fields for key in each if key not in used):
        column = [None if key in each and each[key].date else each.get(key) for each in fields]
        known = [each for each in column if each is not None]
        decimal = any(not each.text.isdecimal() for each in known)
        varies = len({(each.text, each.sign) for each in known}) > 1
        if not (known and key[0]):
            if decimal and (varies or len(fields) == 1):
                remarks.append(
                    f"{known[0].text} in a name stands after no word and is not kept as a metric: "
                    f"a template such as 'weights.{{epoch:02d}}-{{val_loss:.2f}}.keras' names it"
                )
        elif _is_metric(key[0]) or (used and decimal and varies):
            negative = len({each.sign == "?" for each in known}) > 1
            for values, each in zip(metrics, column, strict=True):
                if each is not None:
                    values.setdefault(_metric_name(key[0]), each.value(negative=negative))
    return metrics, remarks


def _metric_name(key: str) -> str:
    """Return a metric's name in Keras: what precedes ``val_`` is no part of it."""
    return key[max(key.find("val_"), 0) :]


def _in_order(names: Sequence[str], *, keep_order: bool, why: str = "") -> _Counter:
    """Count the files from 1, each with its name as the note.

    Args:
        names: The names.
        keep_order: Whether to count in the order given; else in the natural order of the names.
        why: What to say about the names.
    """
    ordered = list(names) if keep_order else sorted(names, key=natural_order)
    steps = {name: number for number, name in enumerate(ordered, start=1)}

    def moment(row: tuple[int, ...]) -> Moment:
        (step,) = row
        return Moment(step, 0, note=printable(_stem(ordered[step - 1]))[:_LONGEST_NOTE])

    origin = "order given" if keep_order else f"{_BY_NAME}{why}"
    return _Counter(origin, (), [(steps[name],) for name in names], moment)
