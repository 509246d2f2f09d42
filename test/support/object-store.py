"""An OpenStack Swift on loopback, in one process: account, container and object server with rings of one device, and a
proxy with tempauth (account test, user registry, password secret), temporary URLs and s3api. Prints the proxy's address;
ends with its standard input.
Argument: an empty folder on a file system with user attributes."""
import os
import sys

import eventlet

eventlet.monkey_patch()

from eventlet import tpool, wsgi  # noqa: E402
from swift.common import utils  # noqa: E402

folder = sys.argv[1]


def write(name, text):
    file_path = os.path.join(folder, name)
    with open(file_path, 'w', encoding='utf8') as file:
        file.write(text)
    return file_path


# Read when the modules below are loaded.
utils.SWIFT_CONF_FILE = write('swift.conf', '[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n')
utils.validate_hash_conf()

from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

os.makedirs(os.path.join(folder, 'devices', 'd1'))

common = f"""[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_address = {folder}/no-syslog
log_level = ERROR
"""
filters = {name: '' for name in ('catch_errors', 'gatekeeper', 'healthcheck', 'listing_formats', 's3api', 'tempurl',
                                 'tempauth', 'bulk', 'copy', 'slo', 'dlo')}
filters['tempauth'] = 'user_test_registry = secret .admin'
filters['s3api'] = 'location = us-east-1'
proxy_text = common + f"""
[pipeline:main]
pipeline = {' '.join(filters)} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
""" + '\n'.join(f'[filter:{name}]\nuse = egg:swift#{name}\n{more}' for name, more in filters.items())


class Memory:
    """What Swift uses of memcached."""

    def __init__(self):
        self.values = {}

    def get(self, key, **_):
        return self.values.get(key)

    def set(self, key, value, **_):
        self.values[key] = value
        return True

    def incr(self, key, delta=1, **_):
        self.values[key] = self.values.get(key, 0) + delta
        return self.values[key]

    def delete(self, key, **_):
        self.values.pop(key, None)


def with_memory(app):
    memory = Memory()

    def call(env, start_response):
        env['swift.cache'] = memory
        return app(env, start_response)
    return call


class Quiet:
    """eventlet's log of requests, unread."""

    def __getattr__(self, _):
        return lambda *_: None


def listen():
    return eventlet.listen(('127.0.0.1', 0), backlog=256)


def serve(listening, app):
    # Like run_server of swift.common.wsgi.
    eventlet.spawn(wsgi.server, listening, app, Quiet(), protocol=SwiftHttpProtocol, socket_timeout=60,
                   capitalize_response_headers=False)


listeners = {kind: listen() for kind in ('account', 'container', 'object')}
for kind, listening in listeners.items():
    port = listening.getsockname()[1]
    builder = RingBuilder(2, 1, 0)
    builder.add_dev({'region': 1, 'zone': 1, 'weight': 1, 'device': 'd1', 'meta': '', 'ip': '127.0.0.1', 'port': port,
                     'replication_ip': '127.0.0.1', 'replication_port': port})
    builder.rebalance()
    builder.get_ring().save(os.path.join(folder, f'{kind}.ring.gz'))
for kind, listening in listeners.items():
    text = f'{common}[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n'
    serve(listening, loadapp(write(f'{kind}.conf', text)))
proxy = listen()
serve(proxy, with_memory(loadapp(write('proxy.conf', proxy_text))))
print(f'listening on 127.0.0.1:{proxy.getsockname()[1]}', flush=True)
tpool.execute(sys.stdin.buffer.read)
