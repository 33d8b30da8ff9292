"""Which network device a worker says it is reached by."""

import psutil
import pytest

from bigmodel.training.worker import _interface_of


def test_the_device_that_has_a_machines_address_is_found() -> None:
    own = psutil.net_if_addrs()
    name = _interface_of("127.0.0.1")
    assert "127.0.0.1" in [each.address for each in own[name]]


@pytest.mark.parametrize("address", ["203.0.113.7", ""])
def test_an_address_of_no_device_leaves_the_choice_to_gloo(address: str) -> None:
    assert _interface_of(address) == ""
