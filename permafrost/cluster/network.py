"""Network addresses of a cluster's tasks: their form, whether they are public, who answers.

Nothing here imports TensorFlow: proxies must be bypassed before gRPC starts.
"""

import contextlib
import ipaddress
import os
import re
import socket
from concurrent import futures
from typing import Dict, Iterable, MutableMapping, NamedTuple, Optional, Tuple

from permafrost.errors import UsageError, shown

PROXIES = ('grpc_proxy', 'http_proxy', 'https_proxy', 'all_proxy')
CONNECT_SECS = 1.  # timeout of a connection
ANSWER_SECS = 3.  # timeout of an answer
LABEL = r'[^\[\]:/\s,.]{1,63}'  # of a name; a resolver raises UnicodeError for other lengths


class TaskStatus(NamedTuple):
    """A task that answers: its name, e.g. 'ps 0', and a number that no other process has."""
    task: str
    incarnation: int


def parse(address: str) -> Tuple[str, int]:
    """Return (host, port) of 'host:port'; IPv6 is written [::1]:2222. Raises UsageError."""
    host = rf'(?:\[([0-9A-Fa-f:.%\w]+)\]|((?:{LABEL}\.)*{LABEL}\.?))'
    match = re.fullmatch(host + ':([0-9]{1,5})', address)
    if not match or not 0 < int(match.group(3)) < 65536:
        raise UsageError(f'{shown(address)} is not the address of a task: write host:port, such as '
                         '10.0.0.5:2222')
    return match.group(1) or match.group(2), int(match.group(3))


def require_private(addresses: Iterable[str], allow_public: bool) -> None:
    """Raise UsageError if one of `addresses` is public; only warn if `allow_public`."""
    for address in addresses:
        ip = _public_ip(address)
        if ip is None:
            continue
        risk = (f'{address} is public ({ip}), and TensorFlow servers have no password: anyone who '
                'can reach the port can run code')
        if not allow_public:
            raise UsageError(f'{risk}. Use private addresses or a tunnel (docs/cluster.md), or '
                             'add --allow_public if a firewall blocks other hosts.')
        print('warning: ' + risk, flush=True)


def _public_ip(address: str) -> Optional[str]:
    # While a cluster starts, its names may not resolve yet; UnicodeError: they never will.
    with contextlib.suppress(OSError, UnicodeError):
        for entry in socket.getaddrinfo(*parse(address), type=socket.SOCK_STREAM):
            ip = str(entry[4][0]).partition('%')[0]
            number = ipaddress.ip_address(ip)
            # Python 3.7 takes all IPv4 addresses that are mapped to IPv6 as private.
            if (getattr(number, 'ipv4_mapped', None) or number).is_global:
                return ip
    return None


def bypass_proxies(addresses: Iterable[str],
                   environment: MutableMapping[str, str] = os.environ) -> None:
    """If a proxy is set, exclude the hosts of `addresses`: gRPC between them fails through it."""
    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.upper()) or ''

    proxies = ', '.join(filter(value, PROXIES))
    if not proxies:
        return
    hosts = list(dict.fromkeys(parse(address)[0] for address in addresses))
    for name in ('no_proxy', 'no_grpc_proxy'):  # gRPC reads the second, then the first
        excluded = [host for host in (value(name) or value('no_proxy')).split(',') if host]
        excluded += [host for host in hosts if host not in excluded]
        environment[name] = environment[name.upper()] = ','.join(excluded)
    print(f"proxy: {proxies} is set, but not used for the hosts of the cluster "
          f"({', '.join(hosts)})", flush=True)


def is_listening(address: str) -> bool:
    """Return whether something accepts connections at `address`: its process has not ended."""
    try:
        socket.create_connection(parse(address), CONNECT_SECS).close()
        return True
    except (OSError, UnicodeError):
        return False


def ask(address: str) -> Optional[TaskStatus]:
    """Return which task of TensorFlow answers at `address`; None if none does.

    A connection alone would not tell: a stopped process and any other service accept one too.
    """
    # Imported when proxies have been bypassed. TensorFlow's packages require them.
    import grpc
    from google.protobuf.message import DecodeError
    from tensorflow.core.example.feature_pb2 import BytesList
    from tensorflow.core.framework.device_attributes_pb2 import DeviceAttributes
    channel = grpc.insecure_channel(address)
    try:
        # The request is empty, and the response a list of DeviceAttributes in field 1: TensorFlow
        # does not ship their classes.
        response = channel.unary_unary('/tensorflow.WorkerService/GetStatus')(
            b'', timeout=ANSWER_SECS)
        device = DeviceAttributes.FromString(BytesList.FromString(response).value[0])
        job, index = re.findall(r'/job:(\w+)/replica:0/task:(\d+)/', device.name)[0]
        return TaskStatus(f'{job} {index}', device.incarnation)
    except (grpc.RpcError, DecodeError, IndexError):
        return None
    finally:
        channel.close()


def unanswered(addresses: Dict[str, str]) -> str:
    """Return the names and addresses, of {name: address}, where that task does not answer."""
    if not addresses:
        return ''
    with futures.ThreadPoolExecutor(len(addresses)) as pool:
        answers = pool.map(ask, addresses.values())
    return ', '.join(
        f'{name} ({address})' + (f', where {answer.task} answers' if answer else '')
        for (name, address), answer in zip(addresses.items(), answers)
        if answer is None or answer.task != name)
