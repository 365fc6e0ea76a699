"""Asks a log publisher for its incidents, as Foolscap's interfaces say: tail_incidents_client.py FURL."""

import sys

from foolscap.api import Tub
from foolscap.logging.interfaces import RILogObserver
from foolscap.referenceable import Referenceable
from node_identity import new_identity
from twisted.internet import defer, reactor
from zope.interface import implementer


@implementer(RILogObserver)
class Observer(Referenceable):
    def __init__(self):
        self.count = 0
        self.second = defer.Deferred()

    def remote_new_incident(self, name, trigger):
        self.count += 1
        print("announced", name.decode(), trigger["message"], flush=True)
        if self.count == 2:
            self.second.callback(None)

    def remote_done_with_incident_catchup(self):
        print("caught up", flush=True)


@defer.inlineCallbacks
def ask(furl):
    tub = Tub(certData=new_identity())
    tub.startService()
    publisher = yield tub.getReference(furl)
    listed = yield publisher.callRemote("list_incidents")
    print("listed", *listed, flush=True)
    (name,) = listed
    header, events = yield publisher.callRemote("get_incident", name.encode())
    print("got", name, header["type"], header["trigger"]["message"], len(events), flush=True)
    unknown = publisher.callRemote("get_incident", b"incident-2000-01-01--00-00-00Z-aaaaaaa")
    yield unknown.addCallbacks(print, lambda failure: print("refused", failure.value, flush=True))
    observer = Observer()
    subscription = yield publisher.callRemote("subscribe_to_incidents", observer, catch_up=True, since=b"")
    yield observer.second
    yield publisher.callRemote("unsubscribe", subscription)
    yield subscription.callRemote("unsubscribe")
    print("unsubscribed", flush=True)


reactor.callWhenRunning(lambda: ask(sys.argv[1]).addErrback(lambda failure: print(failure, flush=True)))
reactor.run()
