"""The state of a parameter server, and the messages that change it."""

from permafrost.cluster.servers.state import ServerState

RUN = {'id': 1, 'name': 'the run runs/1'}


def _state(**fields):
    return ServerState('tf2', ['p:1'], ['a:1', 'b:1'], **fields)


def test_the_first_run_that_claims_a_server_has_it():
    state, other = _state(), {'id': 2, 'name': 'the run runs/2'}
    state.receive('claim', run=RUN, overwrite=False)
    state.receive('ready', id=1)
    state.receive('finished', id=1, worker=1)
    before = _state(run=RUN, ready=True, finished=[1])
    assert state == before
    state.receive('claim', run=other, overwrite=False)
    for kind in ('initializing', 'saved', 'finished', 'left'):
        state.receive(kind, id=2, worker=1)
    assert state == before
    longer = dict(RUN, steps=9)
    state.receive('claim', run=longer, overwrite=False)  # its own chief has come back
    assert state == _state(run=longer, ready=True, finished=[1])
    state.receive('saved', id=1, worker=0)
    state.receive('left', id=1, worker=1)
    state.receive('claim', run=longer, overwrite=False)
    assert state.saved and state.left == [1]  # a chief that was killed after it had saved
    state.receive('claim', run=RUN, overwrite=False)  # it trains further
    assert state == _state(run=RUN, ready=True, finished=[1])
    state.receive('claim', run=other, overwrite=True)
    assert state == _state(run=other)


def test_workers_start_again_where_the_chief_sets_the_variables_again():
    state = _state(run=RUN, ready=True, finished=[1])
    state.receive('initializing', id=1)
    assert state == _state(run=RUN)
    state.receive('ready', id=1)
    state.receive('saved', id=1, worker=0)
    state.receive('left', id=1, worker=1)
    assert state == _state(run=RUN, ready=True, saved=True, left=[1])


def test_a_server_without_a_run_takes_no_other_message():
    state = _state()
    for kind in ('initializing', 'ready', 'saved', 'finished', 'left'):
        state.receive(kind, id=1, worker=1)
    assert state == _state()
