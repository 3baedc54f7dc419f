"""Every exception tokbench raises on purpose.

::

    TokbenchError                     exit code 1
    ├── UsageError                    exit code 2: the request itself is wrong
    │   ├── UnknownNameError          no tokenizer, metric, task or data set of that name
    │   ├── ReservedError             a name kept for a tokenizer that cannot be run here
    │   ├── DuplicateNameError        two plug-ins claim one name
    │   └── UnlikeRunsError           runs differ in more than the tokenizer
    ├── ManifestError                 a manifest file is malformed or does not match its digest
    ├── SampleError                   one sample cannot be read, decoded or placed
    │   └── ChecksumError             the bytes are not the ones the manifest promises
    ├── TokenizerError                a tokenizer failed
    │   ├── MissingExtraError         an optional package is not installed
    │   ├── WeightsError              weights are missing or are not the pinned ones
    │   ├── UnsupportedInputError     it cannot take images of this size
    │   └── BadOutputError            what it returned breaks the contract
    ├── MetricError                   a metric cannot be computed from these inputs
    │   └── NotApplicableError        it says nothing about this kind of tokenizer
    └── ResultsError                  a result file cannot be written, read or used
        └── SchemaTooNewError         it was written by a newer tokbench

A message says what was got, what was expected, and what to do next.
"""


class TokbenchError(Exception):
    """Base of every error tokbench raises on purpose."""

    exit_code = 1


class UsageError(TokbenchError):
    """The request cannot be understood or contradicts itself."""

    exit_code = 2


class UnknownNameError(UsageError):
    """No plug-in, task or data set has that name."""


class ReservedError(UsageError):
    """The name is kept for a tokenizer that cannot be run here."""


class DuplicateNameError(UsageError):
    """Two plug-ins claim the same name."""


class UnlikeRunsError(UsageError):
    """Runs differ in more than the tokenizer, so their numbers must not be compared."""


class ManifestError(TokbenchError):
    """A manifest is malformed, or does not match its recorded digest."""


class SampleError(TokbenchError):
    """One sample cannot be read, decoded or placed; the run goes on without it."""


class ChecksumError(SampleError):
    """A file's bytes are not the ones the manifest promises."""


class TokenizerError(TokbenchError):
    """A tokenizer raised while encoding or decoding."""


class MissingExtraError(TokenizerError):
    """An optional package that this feature needs is not installed."""


class WeightsError(TokenizerError):
    """Weights are missing, or are not the pinned ones."""


class UnsupportedInputError(TokenizerError):
    """The tokenizer cannot take images of this size."""


class BadOutputError(TokenizerError):
    """What the tokenizer returned breaks the contract."""


class MetricError(TokbenchError):
    """A metric cannot be computed from these inputs."""


class NotApplicableError(MetricError):
    """The metric says nothing about this kind of tokenizer; it is skipped with the reason."""


class ResultsError(TokbenchError):
    """A result file cannot be written, read or used."""


class SchemaTooNewError(ResultsError):
    """A result file was written by a newer tokbench than this one."""
