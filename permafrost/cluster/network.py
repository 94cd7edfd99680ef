"""Network addresses of a cluster's tasks: their form, whether they are public, who answers.

Nothing here imports TensorFlow: proxies must be bypassed before gRPC starts.
"""

import contextlib
import ipaddress
import os
import re
import socket
from typing import Dict, Iterable, List, MutableMapping, Optional, Tuple

from permafrost.errors import UsageError

PROXIES = ('grpc_proxy', 'http_proxy', 'https_proxy', 'all_proxy')
CONNECT_SECS = 1.  # timeout of a connection


def parse(address: str) -> Tuple[str, int]:
    """Return (host, port) of 'host:port'; IPv6 is written [::1]:2222. Raises UsageError."""
    match = re.fullmatch(r'(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s,]+)):(\d{1,5})', address)
    if match:
        ipv6, name, port = match.group(1), match.group(2), int(match.group(3))
        # A resolver raises UnicodeError for a label that is empty or too long.
        labels_fit = ipv6 or all(0 < len(label) < 64 for label in name.rstrip('.').split('.'))
        if labels_fit and 0 < port < 65536:
            return ipv6 or name, port
    raise UsageError(f'{address!r} is not the address of a task: write host:port, such as '
                     '10.0.0.5:2222')


def public_addresses(addresses: Iterable[str]) -> Dict[str, str]:
    """Return {address: its public IP address} of those `addresses` that are public."""
    public = {}
    for address in addresses:
        with contextlib.suppress(OSError):  # while a cluster starts, its names may not resolve yet
            for entry in socket.getaddrinfo(*parse(address), type=socket.SOCK_STREAM):
                ip = str(entry[4][0]).partition('%')[0]
                if ipaddress.ip_address(ip).is_global:
                    public[address] = ip
    return public


def require_private(addresses: Iterable[str], allow_public: bool) -> None:
    """Raise UsageError if one of `addresses` is public; only warn if `allow_public`."""
    for address, ip in public_addresses(addresses).items():
        risk = (f'{address} is public ({ip}), and TensorFlow servers have no password: anyone who '
                'can reach the port can run code')
        if not allow_public:
            raise UsageError(f'{risk}. Use private addresses or a tunnel (docs/cluster.md), or '
                             'add --allow_public if a firewall keeps strangers out.')
        print('warning: ' + risk, flush=True)


def bypass_proxies(addresses: Iterable[str],
                   environment: MutableMapping[str, str] = os.environ) -> None:
    """If a proxy is set, exclude the hosts of `addresses`: gRPC between them fails through it."""
    def value(name: str) -> Optional[str]:
        return environment.get(name) or environment.get(name.upper())

    proxies = [name for name in PROXIES if value(name)]
    if not proxies:
        return
    hosts: List[str] = list(dict.fromkeys(parse(address)[0] for address in addresses))
    for name in ('no_proxy', 'no_grpc_proxy'):  # gRPC reads the second, then the first
        excluded = [host for host in (value(name) or value('no_proxy') or '').split(',') if host]
        excluded += [host for host in hosts if host not in excluded]
        environment[name] = environment[name.upper()] = ','.join(excluded)
    print(f"proxy: {', '.join(proxies)} is set, but not used for the hosts of the cluster "
          f"({', '.join(hosts)})", flush=True)


def is_reachable(address: str) -> bool:
    """Return whether something accepts connections at `address`."""
    try:
        socket.create_connection(parse(address), CONNECT_SECS).close()
        return True
    except OSError:
        return False


def unreachable(addresses: Dict[str, str]) -> str:
    """Return the names and addresses, of {name: address}, that do not answer; '' if all do."""
    return ', '.join(f'{name} ({address})' for name, address in addresses.items()
                     if not is_reachable(address))
