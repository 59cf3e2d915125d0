# A life by Docker's SDK for Python: the socket and the name of an image with a shell are its arguments.
import io, sys, time
import docker
from docker.types import IPAMConfig, IPAMPool, Ulimit

def equal(got, want):
    assert got == want, (got, want)

c = docker.DockerClient(base_url="unix://" + sys.argv[1], timeout=60)
equal(c.ping(), True)
c.images.get(sys.argv[2]).tag("bb")
equal(c.containers.run("bb", ["echo", "hi"], remove=True), b"hi\n")

x = c.containers.run("bb", ["sh", "-c", "echo one; exec sleep 1000"], detach=True, name="xx", network_mode="none")
while x.logs() != b"one\n":
    time.sleep(0.01)
equal(next(iter(x.attach(stream=True, logs=True))), b"one\n")
equal(tuple(x.exec_run(["echo", "in"])), (0, b"in\n"))
out, err = zip(*x.exec_run(["sh", "-c", "echo a; echo b >&2"], stream=True, demux=True).output)
equal(b"".join(o for o in out if o) + b"".join(e for e in err if e), b"a\nb\n")
equal(x.top()["Titles"][1], "PID")
assert x.stats(stream=False)["memory_stats"]["usage"] > 0
x.pause(), x.unpause(), x.rename("yy"), x.update(mem_limit="100m", memswap_limit="100m"), x.reload()
equal((x.name, x.status, x.attrs["HostConfig"]["Memory"]), ("yy", "running", 100 << 20))
archive, stat = x.get_archive("/bin/busybox")
equal(stat["name"], "busybox")
x.put_archive("/root", b"".join(archive))
equal(x.exec_run(["busybox", "cmp", "/bin/busybox", "/root/busybox"]).exit_code, 0)
c.api.import_image_from_data(b"".join(x.export()), repository="bb4", tag="latest")
equal(c.containers.run("bb4", ["cat", "/etc/hostname"], hostname="of-bb4", remove=True), b"of-bb4\n")
equal(x.commit("bb2", "v1").tags, ["bb2:v1"])

n = c.networks.create("nn", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="172.31.7.0/24")]))
n.connect(c.containers.create("bb", ["true"], name="zz"), aliases=["alias"], ipv4_address="172.31.7.9")
z = c.containers.get("zz")
equal(z.attrs["NetworkSettings"]["Networks"]["nn"]["IPAMConfig"]["IPv4Address"], "172.31.7.9")
z.start()
equal(z.wait()["StatusCode"], 0)
n.disconnect(z), z.remove(), n.remove()

v = c.volumes.create("vv", labels={"a": "b"})
equal([q.name for q in c.volumes.list(filters={"label": "a=b"})], ["vv"])
equal(c.containers.run("bb", ["sh", "-c", "echo x >/v/f; cat /v/f"], volumes={"vv": {"bind": "/v", "mode": "rw"}}, tmpfs={"/t": ""}, remove=True,
    ulimits=[Ulimit(name="nofile", soft=100, hard=100)], mem_limit="64m", cpu_quota=50000, cap_drop=["ALL"], read_only=True,
    security_opt=["no-new-privileges"], labels=["q"]), b"x\n")
v.remove()

im, _ = c.images.build(fileobj=io.BytesIO(b'FROM bb\nRUN echo built >/f\nLABEL k=v\nCMD ["cat", "/f"]\n'), tag="bb3", rm=True)
equal((im.tags, im.labels["k"]), (["bb3:latest"], "v"))
equal(c.containers.run("bb3", remove=True), b"built\n")
saved = b"".join(im.save(named=True))
c.images.remove("bb3")
equal([i.tags for i in c.images.load(saved)], [["bb3:latest"]])
equal(len(im.history()), 4)
equal(sorted(c.df()), ["BuildCache", "Containers", "Images", "LayersSize", "Volumes"])
seen = [e["Action"] for e in c.events(since=int(time.time()) - 3600, until=int(time.time()) + 1, decode=True)]
equal({"commit", "export", "archive-path", "extract-to-dir", "rename", "import"} - set(seen), set())

x.kill()
equal(x.wait()["StatusCode"], 137)
x.remove(v=True)
for name, call in {"No such container": lambda: c.containers.get("nope"), "No such image": lambda: c.images.get("nope"), "no such volume": lambda: c.volumes.get("nope")}.items():
    try:
        call()
    except docker.errors.NotFound as e:
        assert name.lower() in e.explanation.lower(), e.explanation
    else:
        raise AssertionError(name)
c.containers.prune(), c.networks.prune(), c.volumes.prune(), c.images.prune()
