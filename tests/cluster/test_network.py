"""Addresses: their form, which are public, proxies, and which tasks answer."""

import contextlib
import socket
import threading

import pytest

from permafrost.cluster import network
from permafrost.errors import UsageError
from tests.cluster import helpers


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
    ('[2001:4860:4860::8888]:1', '2001:4860:4860::8888'),
    ('[::ffff:8.8.8.8]:1', '::ffff:8.8.8.8')])
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


@pytest.fixture(scope='module')
def task():
    """The address of a task of TensorFlow, ps 0."""
    import tensorflow.compat.v1 as tf
    spec = helpers.free_spec(1, 1)
    server = tf.train.Server({'ps': list(spec.ps), 'worker': list(spec.workers)}, 'ps', 0)
    yield spec.ps[0]
    del server


@contextlib.contextmanager
def _listening(answer=None):
    """Context with the address of a process that is no TensorFlow; None: it never answers."""
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        listening.listen(16)

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # it is closed
                    return
                with contextlib.suppress(OSError), connection:  # the other side may have left
                    connection.sendall(answer)
        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield f'127.0.0.1:{listening.getsockname()[1]}'
        listening.shutdown(socket.SHUT_RDWR)


def test_a_task_that_answers_has_a_name(task):
    assert network.ask(task).task == 'ps 0'
    assert network.ask(task).incarnation == network.ask(task).incarnation != 0
    assert network.unanswered({'ps 0': task}) == '' == network.unanswered({})


@pytest.mark.parametrize('answer', [
    None, b'', b'SSH-2.0-OpenSSH_9.2\r\n', b'HTTP/1.1 400 Bad Request\r\n\r\n', b'\0' * 9000])
def test_what_accepts_connections_and_is_no_task_does_not_answer(monkeypatch, answer):
    monkeypatch.setattr(network, 'ANSWER_SECS', .3)
    with _listening(answer) as address:
        assert network.is_listening(address) and network.ask(address) is None
        assert network.unanswered({'ps 0': address}) == f'ps 0 ({address})'
    assert not network.is_listening(address)


def test_tasks_that_do_not_answer_are_named(task):
    assert network.unanswered({'ps 0': task, 'ps 1': '127.0.0.1:1', 'worker 0': task}) == (
        f'ps 1 (127.0.0.1:1), worker 0 ({task}), where ps 0 answers')
