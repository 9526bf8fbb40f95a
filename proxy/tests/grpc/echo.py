"""A gRPC server and a client of it, by Python's gRPC library, without generated code.

    echo.py serve [CERTIFICATE KEY]     prints its port, serves until its input ends
    echo.py call ADDRESS ROOTS NAME     prints one line a check, fails if one fails
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

BIG = b"x" * 3_000_000


def unary(request, context):
    context.set_trailing_metadata((("x-last", "unary"), ("x-seen-bin", request[:4])))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "it was asked to, 100 % on purpose")
    return request


def server_stream(request, _):
    for number in range(int(request)):
        yield str(number).encode()


def client_stream(requests, _):
    return b"+".join(requests)


def both(requests, _):
    for request in requests:
        yield request + b"!"


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Echo/ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
            "/test.Echo/ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
            "/test.Echo/Both": grpc.stream_stream_rpc_method_handler(both),
        }.get(details.method)


def serve(certificate=None, key=None):
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((Echo(),))
    if certificate:
        pair = (open(key, "rb").read(), open(certificate, "rb").read())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


def call(address, roots, name):
    options = [("grpc.ssl_target_name_override", name), ("grpc.max_receive_message_length", -1)]
    credentials = grpc.ssl_channel_credentials(open(roots, "rb").read())
    with grpc.secure_channel(address, credentials, options) as channel:
        one = channel.unary_unary("/test.Echo/Unary")
        answer, ended = one.with_call(b"hello", timeout=10)
        assert answer == b"hello", answer
        last = dict((entry.key, entry.value) for entry in ended.trailing_metadata())
        assert last["x-last"] == "unary" and last["x-seen-bin"] == b"hell", last
        print("unary, trailers")

        assert one(BIG, timeout=10) == BIG
        print("3 MB each way")

        for request, path, code in (
            (b"fail", "/test.Echo/Unary", grpc.StatusCode.FAILED_PRECONDITION),
            (b"x", "/test.Echo/None", grpc.StatusCode.UNIMPLEMENTED),
        ):
            try:
                channel.unary_unary(path)(request, timeout=10)
                raise AssertionError("no error")
            except grpc.RpcError as error:
                assert error.code() == code, error
        print("statuses")

        numbers = list(channel.unary_stream("/test.Echo/ServerStream")(b"100", timeout=10))
        assert numbers == [str(number).encode() for number in range(100)], numbers
        print("server stream")

        parts = channel.stream_unary("/test.Echo/ClientStream")(iter([b"a", b"b", b"c"]), timeout=10)
        assert parts == b"a+b+c", parts
        print("client stream")

        # The next message is sent when the one before was answered.
        heard = []

        def words():
            for number in range(5):
                while len(heard) < number:
                    pass
                yield str(number).encode()

        for word in channel.stream_stream("/test.Echo/Both")(words(), timeout=10):
            heard.append(word)
        assert heard == [b"0!", b"1!", b"2!", b"3!", b"4!"], heard
        print("both streams")


if __name__ == "__main__":
    {"serve": serve, "call": call}[sys.argv[1]](*sys.argv[2:])
