"""The v1 keys on S3 and ids on SQS, against moto's server; and a network that breaks what it carries."""

import json
import socket
import threading
import time
import warnings

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lae_monitor.kinds.crashes.crashmover import config

BUCKET = "crashes"


@pytest.fixture(scope="module")
def aws():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch, aws):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_ENDPOINT_URL_SQS": aws, "AWS_CONFIG_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3(aws):
    client = boto3.client("s3", endpoint_url=aws)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    yield client
    for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def keys(client):
    return {entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def read_v1(client, crash_id, prefix=""):
    """As the v1 layout is described."""

    def get(key):
        return client.get_object(Bucket=BUCKET, Key=prefix + key)["Body"].read()

    document = json.loads(get(f"v1/raw_crash/20{crash_id[-6:]}/{crash_id}"))
    names = json.loads(get(f"v1/dump_names/{crash_id}"))
    dumps = {name: get(f"v1/{'dump' if name == 'upload_file_minidump' else name}/{crash_id}") for name in names}
    return document, dumps


@pytest.mark.parametrize("prefix", ["", "some/where"])
def test_readers_of_v1_find_every_crash(world, aws, s3, prefix):
    for number in range(5):
        world.put(digit=number % 2)
    world.put(dumps={})
    settings = config.S3(bucket=BUCKET, endpoint_url=aws, prefix=prefix, region="eu-north-1")
    assert world.run(settings).sent == 6
    for crash in world.crashes:
        assert read_v1(s3, crash.id, f"{prefix}/" if prefix else "") == (crash.document, crash.dumps)
    assert len(keys(s3)) == 5 * 4 + 2


def test_what_is_there_already_is_compared_and_never_replaced(world, aws, s3):
    same, other = world.put(), world.put()
    s3.put_object(Bucket=BUCKET, Key=f"v1/dump/{same.id}", Body=same.dumps["upload_file_minidump"])
    s3.put_object(Bucket=BUCKET, Key=f"v1/dump/{other.id}", Body=b"somebody else's")
    outcome = world.run(config.S3(bucket=BUCKET, endpoint_url=aws))
    assert (outcome.sent, outcome.dead) == (1, 1)
    assert read_v1(s3, same.id)[1] == same.dumps
    assert s3.get_object(Bucket=BUCKET, Key=f"v1/dump/{other.id}")["Body"].read() == b"somebody else's"
    assert f"v1/raw_crash/{other.day}/{other.id}" not in keys(s3), "the raw crash comes last: readers find nothing half"


def test_a_bucket_that_does_not_exist_yet_is_waited_for(world, aws):
    world.put()
    settings = config.S3(bucket="not-yet", endpoint_url=aws)
    assert world.run(settings).left == 1
    client = boto3.client("s3", endpoint_url=aws)
    client.create_bucket(Bucket="not-yet", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    client.close()
    assert world.run(settings).sent == 1


def test_nobody_there(world):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    world.put()
    assert world.run(config.S3(bucket=BUCKET, endpoint_url=f"http://127.0.0.1:{port}")).left == 1


def test_a_dump_whose_name_is_a_key_of_its_own_is_refused(world, aws, s3):
    world.put(dumps={"dump": b"x"})
    assert world.run(config.S3(bucket=BUCKET, endpoint_url=aws)).dead == 1
    assert keys(s3) == set()


class BreakingNetwork:
    """Carries bytes to a server, and changes some of them while `times` is not used up."""

    def __init__(self, url: str, times: int) -> None:
        self.times = times
        host, _, port = url.removeprefix("http://").rpartition(":")
        self.target = host, int(port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self.carry, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, client, False), daemon=True).start()

    def carry(self, source, target, breaks) -> None:
        with source, target:
            try:
                while data := source.recv(65536):
                    if breaks and b"MDMP" in data and self.times > 0:
                        self.times -= 1
                        data = data.replace(b"MDMP", b"XDMP", 1)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def close(self) -> None:
        self.listener.close()


def test_an_upload_that_was_damaged_on_its_way_is_seen_and_sent_again(world, aws, s3):
    crash = world.put()
    network = BreakingNetwork(aws, times=1)
    settings = config.S3(bucket=BUCKET, endpoint_url=network.url)
    assert world.run(settings).left == 1
    assert network.times == 0
    assert f"v1/raw_crash/{crash.day}/{crash.id}" not in keys(s3)
    assert world.run(settings).sent == 1
    assert read_v1(s3, crash.id) == (crash.document, crash.dumps)
    network.close()


# ---- SQS -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqs(aws):
    client = boto3.client("sqs", endpoint_url=aws)
    yield client
    client.close()


def bodies(client, url):
    found = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        found += [message["Body"] for message in messages]
        for message in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_each_saved_crash_is_told_to_the_queue_once_and_bare(world, sqs):
    url = sqs.create_queue(QueueName="new-crashes")["QueueUrl"]
    for _ in range(40):
        world.put()
    assert world.run(config.Nowhere(publish="sqs://new-crashes")).sent == 40
    assert sorted(bodies(sqs, url)) == sorted(crash.id for crash in world.crashes)
    world.run(config.Nowhere(publish="sqs://new-crashes"))
    assert bodies(sqs, url) == []


def test_a_queue_that_is_missing_holds_up_no_save_and_is_told_later(world, sqs):
    crash = world.put()
    settings = config.Nowhere(publish="sqs://comes-later")
    assert world.run(settings, retry_delay=0.001).sent == 1
    url = sqs.create_queue(QueueName="comes-later")["QueueUrl"]

    def told():
        with world.ledger() as ledger:
            return ledger.publishes.waiting() == 0

    world.run_until(told, settings)
    assert bodies(sqs, url) == [crash.id]


def test_a_crash_that_was_not_saved_is_not_told(world, sqs):
    url = sqs.create_queue(QueueName="none")["QueueUrl"]
    world.put().path.write_bytes(b"broken")
    world.run(config.Nowhere(publish="sqs://none"))
    assert bodies(sqs, url) == []


def test_an_id_that_could_never_be_told_is_a_dead_letter_and_the_crash_is_not(world):
    crash = world.put()
    world.run_until(world.dead, config.Nowhere(publish="sqs://never"), max_attempts=2)
    (letter,) = world.dead()
    assert (letter.what, letter.crash_id) == ("publish", crash.id)
    assert world.of(crash)["null"]["state"] == "done"
    with world.ledger() as ledger:
        assert ledger.again(None, time.time()) == 1
