"""Which secrets the processes of the local stack are given."""

import stat
from pathlib import Path

import pytest

from events.catalogue import SERVICES
from operations.access.database_users import AUDITOR
from operations.endpoints import ENDPOINTS_FILE, broker_login
from saga.messaging.users import OPERATOR, PUBLISHER
from tests.support.system import System
from tests.support.users import PASSWORDS


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads environments by /proc")
@pytest.mark.parametrize("service", SERVICES)
def test_service_gets_only_its_own_passwords(system_of_processes: System, service: str) -> None:
    stack = system_of_processes.stack
    environment = Path(f"/proc/{stack.service(service).pid}/environ").read_text()
    assert PASSWORDS[service] in environment
    assert broker_login(stack.databases[service].url_of(service)).password in environment
    for other in {*SERVICES, OPERATOR, PUBLISHER} - {service}:
        assert PASSWORDS[other] not in environment
    for other, database in stack.databases.items():
        for user in {other, AUDITOR} - {service}:
            assert broker_login(database.url_of(user)).password not in environment


def test_operator_passwords_are_readable_by_the_owner_only(system_of_processes: System) -> None:
    directory = system_of_processes.stack.state_dir
    assert stat.S_IMODE(directory.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE((directory / ENDPOINTS_FILE).stat().st_mode) == 0o600
