"""The TensorFlow server of a task."""

import pytest
import tensorflow.compat.v1 as tf

from permafrost.cluster.cluster_spec import ClusterSpec, Task
from permafrost.cluster.servers import grpc_server
from permafrost.errors import UserError
from tests.cluster import helpers


def test_a_port_in_use_is_a_user_error(capsys):
    with helpers.listening() as address:
        spec = ClusterSpec((address,), ('127.0.0.1:1',))
        with pytest.raises(UserError, match=rf'^ps 0 cannot listen on {address} .*another process'):
            grpc_server.start(spec, Task('ps'), tf.ConfigProto())
    port = address.split(':')[1]
    assert f'listening on port {port} of every interface' in capsys.readouterr().out
