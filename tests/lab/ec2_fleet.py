"""Runs inside the lab, as the controller: makes instances in a moto server that have the addresses of the lab's hosts.

    python ec2_fleet.py NAME=ROLE=ADDRESS ...

moto answers as EC2 does; boto3's own AWS_ENDPOINT_URL_EC2 says where it is.
"""

import sys
import time

import boto3
from botocore.exceptions import EndpointConnectionError


def wait(client, patience=60.0):
    end = time.monotonic() + patience
    while True:
        try:
            return client.describe_vpcs()
        except EndpointConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def main():
    client = boto3.client("ec2")
    wait(client)
    subnets = {}
    for wanted in sys.argv[1:]:
        name, role, address = wanted.split("=")
        network = ".".join(address.split(".")[:2])
        if network not in subnets:
            vpc = client.create_vpc(CidrBlock=f"{network}.0.0/16")["Vpc"]["VpcId"]
            made = client.create_subnet(VpcId=vpc, CidrBlock=f"{network}.0.0/24")
            subnets[network] = made["Subnet"]["SubnetId"]
        client.run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            SubnetId=subnets[network],
            PrivateIpAddress=address,
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": "Name", "Value": name}, *([{"Key": "lae_role", "Value": role}] if role else [])],
                }
            ],
        )
    print(len(client.describe_instances()["Reservations"]))


if __name__ == "__main__":
    main()
