"""Which names and addresses lead to this machine and nowhere else."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Of a host without port and brackets: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
