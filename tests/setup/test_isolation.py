import os
import socket

import pytest

from tests.isolation import fci_ports_are_free, lease


def test_two_leases_of_one_kind_differ() -> None:
    with lease("example", ["1", "2"]) as first, lease("example", ["1", "2"]) as second:
        assert {first, second} == {"1", "2"}


def test_a_lease_is_given_back_on_exit() -> None:
    with lease("example", ["only"]):
        pass
    with lease("example", ["only"]) as again:
        assert again == "only"


def test_lease_says_where_the_locks_are_when_all_are_taken() -> None:
    taken = pytest.raises(RuntimeError, match="every example is in use; the locks are in")
    with lease("example", ["only"]), taken, lease("example", ["only"]):
        pass


def test_an_address_with_a_listener_is_not_leased(fci_address: str) -> None:
    with socket.create_server((fci_address, 1338)):
        assert not fci_ports_are_free(fci_address)
    assert fci_ports_are_free(fci_address)


def test_tests_see_the_domain_of_their_module(ros_domain: int) -> None:
    assert os.environ["ROS_DOMAIN_ID"] == str(ros_domain)


def test_outputs_go_to_a_folder_of_the_test(outputs: os.PathLike[str]) -> None:
    assert os.path.samefile("outputs", outputs)
