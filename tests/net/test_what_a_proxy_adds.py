"""A request that a proxy handed on is known by the headers that proxies add; then the proxy's account counts for nothing."""

import pytest

from lae_monitor.net.access import proxy_header
from lae_monitor.net.http_request import Headers

ADDED = """
    Forwarded Via X-Forwarded X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Server X-Forwarded-Port
    X-Forwarded-By X-Forwarded-Client-Cert X-Forwarded-User X_Forwarded_For X-Real-IP X-Remote-IP X-Remote-Addr X-Scheme
    X-Original-Forwarded-For X-Original-Host X-Original-URI X-Envoy-External-Address X-ProxyUser-Ip Client-IP X-Client-IP
    X-Cluster-Client-IP True-Client-IP Proxy-Client-IP WL-Proxy-Client-IP Fastly-Client-IP Fly-Client-IP Incap-Client-IP
    X-Sucuri-ClientIP X-Azure-ClientIP X-Azure-SocketIP X-Appengine-User-Ip CF-Connecting-IP CF-Connecting-IPv6
    CF-Pseudo-IPv4 CF-Ray DO-Connecting-IP X-NF-Client-Connection-IP X-Vercel-Forwarded-For CloudFront-Viewer-Address
    X-Amz-Cf-Id X-Amzn-Trace-Id CDN-Loop X-ARR-LOG-ID X-Varnish Tailscale-User-Login
"""
PLAIN = """
    Host User-Agent Accept Accept-Encoding Accept-Language Authorization Auth-Token Cookie Content-Type Content-Length
    Content-Encoding Connection Origin Referer Sec-Fetch-Site Upgrade-Insecure-Requests If-None-Match X-Requested-With
    X-Request-ID Traceparent Expect Range Cache-Control DNT HX-Request HX-Current-URL X-Clientipad
"""


@pytest.mark.parametrize("name", ADDED.split())
def test_each_header_that_a_proxy_adds_is_known(name):
    assert proxy_header(Headers([(b"host", b"localhost"), (name.lower().encode(), b"x")]))


def test_what_browsers_and_programs_send_is_no_proxys():
    assert proxy_header(Headers([(name.lower().encode(), b"x") for name in PLAIN.split()])) == ""
