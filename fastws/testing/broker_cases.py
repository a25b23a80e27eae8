"""All cases of a broker, in one table."""

from __future__ import annotations

from fastws.testing.conformance import Case
from fastws.testing.history_cases import CASES as HISTORY
from fastws.testing.keyed_cases import CASES as KEYED
from fastws.testing.plain_cases import CASES as PLAIN

__all__ = ["broker_conformance"]


def broker_conformance() -> list[Case]:
    """Return all cases, for ``pytest.mark.parametrize``::

        @pytest.mark.parametrize("case", broker_conformance(), ids=str)
        async def test_conforms(case):
            site = BrokerSite(lambda: MyBroker("my://server"))
            if reason := case.why_not(site):
                pytest.skip(reason)
            await case(site)

    A subclass of :class:`BrokerSite` that has ``stop``, ``start`` and ``lose`` runs the cases about outages,
    too.
    """
    return [*PLAIN, *HISTORY, *KEYED]
