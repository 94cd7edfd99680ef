"""Chromium without a window, by its debugging protocol over two pipes; for tests of pages."""

import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import time

PROGRAM = shutil.which('chromium') or shutil.which('google-chrome')
TIMEOUT = 60.  # seconds for an answer


class Browser(contextlib.AbstractContextManager):
    """A page of a browser; its profile is in the folder `profile`.

    `requests` are the addresses that it asked for, `errors` what its console reported.
    """

    def __init__(self, profile):
        self.requests, self.errors, self._number, self._rest = [], [], 0, b''
        theirs_in, self._send = os.pipe()
        self._receive, theirs_out = os.pipe()
        # The protocol uses the descriptors 3 and 4.
        command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ['bash', '-c', command, 'bash', PROGRAM, '--headless', '--hide-scrollbars',
             '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
             '--disable-background-networking', '--disable-component-update',
             f'--user-data-dir={profile}', '--remote-debugging-pipe', 'about:blank'],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=dict(os.environ, HOME=str(profile)))
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = None
        try:
            target = self.call('Target.createTarget', url='about:blank')['targetId']
            self._session = self.call('Target.attachToTarget', targetId=target,
                                      flatten=True)['sessionId']
            for domain in ('Page', 'Network', 'Runtime', 'Log'):
                self.call(domain + '.enable')
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()
        os.close(self._send)
        os.close(self._receive)

    def call(self, method, **params):
        """Return the result of a command of the protocol."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._send, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']

    def _next(self):
        end = time.monotonic() + TIMEOUT
        while b'\0' not in self._rest:
            assert select.select([self._receive], [], [], max(0, end - time.monotonic()))[0]
            data = os.read(self._receive, 1 << 16)
            assert data, 'Chromium has ended'
            self._rest += data
        text, _, self._rest = self._rest.partition(b'\0')
        message = json.loads(text)
        params, method = message.get('params', {}), message.get('method')
        if method == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif method == 'Runtime.exceptionThrown':
            self.errors.append(str(params['exceptionDetails']))
        elif method == 'Log.entryAdded':
            self.errors.append(params['entry']['text'])
        return message

    def open(self, path, width=1200, dark=False):
        """Open the file `path`, or an address, in a window `width` pixels wide."""
        address = str(path) if '://' in str(path) else pathlib.Path(path).resolve().as_uri()
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=900,
                  deviceScaleFactor=1, mobile=False)
        self.run('window.isLeft = true')  # the page that is open
        self.call('Page.navigate', url=address)
        end = time.monotonic() + TIMEOUT
        while self.run('document.readyState !== "complete" || window.isLeft === true'):
            assert time.monotonic() < end, f'{address} does not load'

    def run(self, script):
        """Return the value of `script`, an expression."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def screenshot(self, path):
        """Write the whole page to `path`, a PNG file."""
        data = self.call('Page.captureScreenshot', captureBeyondViewport=True)['data']
        pathlib.Path(path).write_bytes(base64.b64decode(data))
