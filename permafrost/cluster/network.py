"""Addresses of a cluster's tasks: what they look like, who may reach them, who answers.

Nothing here imports TensorFlow: proxies are set aside before gRPC starts.
"""

import ipaddress
import os
import re
import socket

from permafrost.errors import UsageError

PROXIES = ('grpc_proxy', 'http_proxy', 'https_proxy', 'all_proxy')
PROBE_SECS = 1.  # for a connection to be accepted


def parse(address):
    """(host, port) of 'host:port'; IPv6 is written [::1]:2222. Raises UsageError."""
    found = re.match(r'(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s,]+)):(\d{1,5})$', address)
    labels = (found.group(2) or 'ipv6').rstrip('.').split('.') if found else []
    if not found or not 0 < int(found.group(3)) < 65536 or not all(
            0 < len(label) < 64 for label in labels):  # resolvers raise UnicodeError for others
        raise UsageError('%r is no address of a task: write host:port, such as 10.0.0.5:2222'
                         % address)
    return found.group(1) or found.group(2), int(found.group(3))


def public_addresses(addresses):
    """{address: the public IP address that it is} of those `addresses` that are public.

    A name that does not resolve yet, as happens while a cluster's hosts start, counts as private.
    """
    found = {}
    for address in addresses:
        try:
            resolved = socket.getaddrinfo(*parse(address), type=socket.SOCK_STREAM)
        except OSError:
            continue
        for entry in resolved:
            number = entry[4][0].partition('%')[0]
            if ipaddress.ip_address(number).is_global:
                found[address] = number
    return found


def require_private(addresses, allowed):
    """Raises UsageError where one of `addresses` is public, unless `allowed`."""
    for address, number in public_addresses(addresses).items():
        risk = ('%s is public (%s), and TensorFlow\'s servers ask for no password: who reaches the '
                'port can run any code' % (address, number))
        if not allowed:
            raise UsageError(risk + '; use private addresses or a tunnel (docs/cluster.md), or '
                             'add --allow_public where a firewall keeps strangers out')
        print('warning: ' + risk, flush=True)


def listening_warning(port):
    """What a task says at its start about the port that it opens."""
    return ('listening on port %d of every interface (TensorFlow heeds no address), without '
            'password or encryption: who reaches it can run any code as this user; let only the '
            "cluster's hosts reach it" % port)


def bypass_proxies(addresses, environment=os.environ):
    """Keeps gRPC from going through a proxy to `addresses`: names them in no_proxy.

    Returns a line that says so, or None where no proxy is set.
    """
    def value(name):
        return environment.get(name) or environment.get(name.upper())

    proxies = [name for name in PROXIES if value(name)]
    if not proxies:
        return None
    hosts = list(dict.fromkeys(parse(address)[0] for address in addresses))
    for name in ('no_proxy', 'no_grpc_proxy'):  # gRPC reads the second, then the first
        known = [host for host in (value(name) or value('no_proxy') or '').split(',') if host]
        wanted = ','.join(known + [host for host in hosts if host not in known])
        environment[name] = environment[name.upper()] = wanted
    return 'proxy: %s is set, and not used for the hosts of the cluster (%s)' % (
        ', '.join(proxies), ', '.join(hosts))


def is_reachable(address):
    """Whether something accepts connections at `address`."""
    try:
        socket.create_connection(parse(address), PROBE_SECS).close()
        return True
    except OSError:
        return False
