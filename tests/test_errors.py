from __future__ import annotations

import pytest

from pkiconf.errors import OutcomeUnknown, PkiconfError
from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.scep import FailInfo, SCEPFailure


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("the key is away", "Wait"),
        ACMEProblem(ProblemType.DNS, "no such name", retry_after=7),
        SCEPFailure(FailInfo.BAD_REQUEST, "not today", "Wait", reason="because"),
    ],
)
def test_one_that_is_made_anew_says_the_same_and_was_never_raised(error: PkiconfError) -> None:
    with pytest.raises(PkiconfError):
        raise error
    again = error.anew()
    assert (type(again), vars(again), again.args, str(again)) == (type(error), vars(error), error.args, str(error))
    assert error.__traceback__ is not None
    assert again.__traceback__ is None
