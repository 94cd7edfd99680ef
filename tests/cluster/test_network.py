"""Addresses: their form, which are public, proxies, and which tasks answer."""

import socket

import pytest

from permafrost.cluster import network
from permafrost.errors import UsageError


@pytest.mark.parametrize('address, expected', [
    ('10.0.0.5:2222', ('10.0.0.5', 2222)), ('worker-0.svc:1', ('worker-0.svc', 1)),
    ('[::1]:65535', ('::1', 65535)), ('[fe80::1%eth0]:2', ('fe80::1%eth0', 2))])
def test_an_address_is_a_host_and_a_port(address, expected):
    assert network.parse(address) == expected


@pytest.mark.parametrize('address', [
    '', 'p', 'p:', ':1', 'p:0', 'p:65536', 'p:123456', 'p:x', '::1:2222', '[::1]', 'http://p:2222',
    '10.0.0..5:2222', 'a b:1', 'a,b:1', 'x' * 64 + ':1', 'p:1\n2'])
def test_what_is_not_an_address_is_refused(address):
    with pytest.raises(UsageError, match='is not the address of a task: write host:port'):
        network.parse(address)


@pytest.mark.parametrize('address', [
    '127.0.0.1:1', '10.1.2.3:1', '172.16.0.1:1', '192.168.1.1:1', '169.254.1.1:1', '[::1]:1',
    '[fd00::1]:1', 'localhost:1', 'no-such-host.invalid:1'])
def test_private_addresses_are_accepted(address, capsys):
    network.require_private([address], False)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('address, ip', [
    ('8.8.8.8:1', '8.8.8.8'), ('172.32.0.1:1', '172.32.0.1'),
    ('[2001:4860:4860::8888]:1', '2001:4860:4860::8888')])
def test_public_addresses_need_allow_public(address, ip, capsys):
    with pytest.raises(UsageError, match='--allow_public'):
        network.require_private(['127.0.0.1:1', address], False)
    network.require_private([address], True)
    assert f'warning: {address} is public ({ip})' in capsys.readouterr().out


def test_proxies_are_bypassed_for_the_hosts_of_the_cluster(capsys):
    environment = {}
    network.bypass_proxies(['a:2222'], environment)
    assert environment == {} and capsys.readouterr().out == ''
    environment = {'HTTPS_PROXY': 'http://proxy:3128', 'no_proxy': 'b,x.org'}
    network.bypass_proxies(['a:2222', 'b:2222', '[::1]:2'], environment)
    notice = capsys.readouterr().out
    assert 'https_proxy is set, but not used' in notice and '(a, b, ::1)' in notice
    for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy'):
        assert environment[name] == 'b,x.org,a,::1'


def test_tasks_that_do_not_answer_are_named():
    with socket.socket() as listening, socket.socket() as silent:
        for one in (listening, silent):
            one.bind(('127.0.0.1', 0))
        listening.listen(16)
        addresses = {name: f'127.0.0.1:{one.getsockname()[1]}'
                     for name, one in (('ps 0', listening), ('worker 1', silent))}
        assert network.is_reachable(addresses['ps 0'])
        assert network.unreachable(addresses) == f"worker 1 ({addresses['worker 1']})"
        del addresses['worker 1']
        assert network.unreachable(addresses) == ''
