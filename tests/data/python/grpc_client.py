"""A client generated from our .proto files: calls given as JSON lines, answers as JSON lines.

Arguments: the folder of the .proto files, a folder for the generated code, the target (`unix:/path`).
"""

import glob
import json
import os
import sys

import google.protobuf.descriptor_pool
import grpc
import grpc_tools
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

protos, generated, target = sys.argv[1:]
files = sorted(glob.glob(os.path.join(protos, "hfetch/v1/*.proto")))
well_known = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
options = [f"-I{protos}", f"-I{well_known}", f"--python_out={generated}", f"--grpc_python_out={generated}"]
if protoc.main(["protoc", *options, *files]) != 0:
    sys.exit("protoc failed")
sys.path.insert(0, generated)
modules = {}
for file in files:
    stem = "hfetch.v1." + os.path.basename(file).removesuffix(".proto")
    messages = __import__(stem + "_pb2", fromlist=["DESCRIPTOR"])
    stubs = __import__(stem + "_pb2_grpc", fromlist=["grpc"])
    for service in messages.DESCRIPTOR.services_by_name.values():
        modules[service.name] = (service, stubs)

channel = grpc.insecure_channel(target)
watches = {}


def request_of(service, method, fields):
    method = modules[service][0].methods_by_name[method]
    return ParseDict(fields, GetMessageClass(method.input_type)())


def call(service, method, fields):
    stub = getattr(modules[service][1], service + "Stub")(channel)
    return getattr(stub, method)(request_of(service, method, fields), timeout=60)


def plain(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def reason(error):
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.domain + "/" + info.reason
    return None


def health(service):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def reflection_v1():
    """The messages are those of v1alpha; only the name of the service differs."""
    ask = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answer = next(ask(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]), timeout=60))
    return sorted(service.name for service in answer.list_services_response.service)


def reflection():
    """Every service and method as the server describes it, for comparison with the generated code."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = google.protobuf.descriptor_pool.DescriptorPool(database)
    same = {}
    for name, (known, _) in modules.items():
        told = pool.FindServiceByName("hfetch.v1." + name)
        shape = lambda method: (method.name, method.input_type.full_name, method.output_type.full_name)
        same[name] = [shape(method) for method in told.methods] == [shape(method) for method in known.methods]
    return {"v1": reflection_v1(), "v1alpha": sorted(database.get_services()), "same": same}


def watch(name, fields):
    watches[name] = call("EventService", "Watch", fields)
    return name


def read(name, until):
    """Bodies of a watch until an event of this type, or of this state, has come."""
    seen = []
    for message in watches[name]:
        body = plain(message)
        seen.append(body)
        event = body.get("event", {})
        if until in (event.get("type"), event.get("state"), next(iter(body))):
            return seen
    raise AssertionError("the stream ended")


def leave(name):
    watches.pop(name).cancel()
    return name


HANDLERS = {
    "call": lambda service, method, fields: plain(call(service, method, fields)),
    "health": health,
    "reflection": reflection,
    "watch": watch,
    "read": read,
    "leave": leave,
}

print(json.dumps({"services": sorted(modules)}), flush=True)
for line in sys.stdin:
    verb, *arguments = json.loads(line)
    try:
        answer = {"ok": HANDLERS[verb](*arguments)}
    except grpc.RpcError as error:
        answer = {"error": error.code().name, "text": error.details(), "reason": reason(error)}
    print(json.dumps(answer), flush=True)
