"""The chart, by the tools that would meet it on its way to a cluster."""

import json
import os
import re
import shutil
import tomllib

import kubernetes_validate
import pytest
import yaml
from conftest import (
    ACCOUNT_FILE,
    BINARY,
    CHART,
    FOLDER,
    ROOT,
    TOOLS,
    VERSION,
    helm,
    objects,
    of_kind,
    pod_files,
    run,
    template,
)

CUSTOM = ("Certificate", "HTTPRoute", "PrometheusRule", "ServiceMonitor")
OLDEST_KUBERNETES = "1.30"
SNAPSHOT = ROOT / "tests/chart/default.yaml"
SQLITE = CHART / "ci/sqlite-values.yaml"


def test_helm_lints_every_value_set(values):
    helm("lint", "--strict", CHART, "--values", values)


def test_every_object_keeps_to_kubernetes_schema(values):
    for version in (OLDEST_KUBERNETES, kubernetes_validate.latest_version()):
        for (kind, _), document in objects(values=values).items():
            if kind not in CUSTOM:
                kubernetes_validate.validate(document, version, strict=True)


def test_custom_resources_keep_to_their_published_models(values):
    custom = [o for (kind, _), o in objects(values=values).items() if kind in CUSTOM]
    run("node", ROOT / "tests/chart/models.mjs", input=json.dumps(custom))


def test_the_full_value_set_renders_every_kind():
    kinds = {kind for kind, _ in objects(values=CHART / "ci/full-values.yaml")}
    assert kinds == {
        "Certificate", "ConfigMap", "CronJob", "Deployment", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress",
        "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "PrometheusRule",
        "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip


def check_config(rendered, root):
    """Lets the gateway check what a pod would be given."""
    folder = pod_files(rendered, root)
    config = folder / "config.toml"
    config.write_text(config.read_text().replace(FOLDER, str(folder)))
    done = run(BINARY, "check-config", "--config", config, check=False)
    if done.returncode == 0:
        lint = (BINARY, "policy", "lint", folder / "policies", "--deny-warnings")
        done = run(*lint, check=False)
    return done


def test_the_gateway_accepts_the_settings_and_policies_of_every_value_set(values, tmp_path):
    done = check_config(objects(values=values), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document, said",
    [
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "Alow"}]}', "Alow"),
        ('{"Version": "2012-10-17", "Statement": [}', "teams/media.json"),
    ],
)
def test_a_chart_with_a_policy_that_the_gateway_refuses_fails(document, said, tmp_path):
    policy = tmp_path / "media.json"
    policy.write_text(document)
    rendered = objects("--set-file", f"policies.teams.media={policy}")
    done = check_config(rendered, tmp_path / "pod")
    assert done.returncode == 64 and said in done.stderr, done.stderr


def test_settings_reach_the_gateway_as_they_were_written(tmp_path):
    folder = pod_files(objects(values=CHART / "ci/full-values.yaml"), tmp_path)
    rendered = tomllib.loads((folder / "config.toml").read_text())
    given = yaml.safe_load((CHART / "ci/full-values.yaml").read_text())["settings"]
    given["server"] |= {
        "listen": "0.0.0.0:8080",
        "management_listen": "0.0.0.0:8081",
        "shutdown_timeout": "45s",
    }
    given["server"]["tls"] |= {
        "certificate_file": f"{FOLDER}/tls/tls.crt",
        "private_key_file": f"{FOLDER}/tls/tls.key",
        "client_ca_file": f"{FOLDER}/client-ca/ca.crt",
    }
    given["audit"]["checkpoint_file"] = "/var/lib/glacier-gateway-checkpoints/checkpoint"
    given["aws"]["accounts_directory"] = f"{FOLDER}/accounts"
    given["lifecycle"]["directory"] = f"{FOLDER}/lifecycle"
    given["policy"]["directory"] = f"{FOLDER}/policies"
    assert rendered == given


def documented_settings():
    """The keys in config/default.toml, those in comments too, as `section.key`."""
    section, keys = "", set()
    for line in (ROOT / "config/default.toml").read_text().splitlines():
        line = line.removeprefix("# ")
        if table := re.fullmatch(r"\[([a-z_.-]+)\]", line):
            section = table[1].replace("issuers.corporate", "issuers.*")
            section = section.replace("accounts.media", "accounts.*")
            section = section.replace("rules.stale-media", "rules.*")
            section = section.replace("teams.media", "teams.*")
        elif key := re.match(r"([a-z_]+|[0-9]+) = ({?)", line):
            name = "*" if key[1].isdigit() else key[1]
            keys.add(f"{section}.{name}{'.*' if key[2] else ''}")
    return keys


def schema_settings(schema, definitions, path=""):
    schema = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
    if schema.get("type") != "object":
        return {path.removeprefix(".")}
    named = dict(schema.get("properties", {}))
    others = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    named |= {"*": other for other in others if other}
    found = [schema_settings(s, definitions, f"{path}.{name}") for name, s in named.items()]
    return set().union(*found)


# Settings that the chart writes itself.
OWN = {
    "server.listen", "server.management_listen", "server.shutdown_delay", "server.shutdown_timeout",
    "policy.directory", "audit.checkpoint_file", "server.tls.certificate_file", "server.tls.private_key_file",
    "server.tls.client_ca_file",
}  # fmt: skip


def test_the_values_know_every_setting_but_those_that_are_the_charts_own():
    schema = json.loads((CHART / "values.schema.json").read_text())
    known = schema_settings(schema["properties"]["settings"], schema["definitions"])
    assert known | OWN == documented_settings(), (
        "config/default.toml and settings in values.schema.json differ: give the schema the key, "
        "and ci/full-values.yaml a value"
    )


@pytest.mark.parametrize(
    "wrong, path",
    [
        ("replicas=3", "replicas"),
        ("settings.aws.acount_id=x", "acount_id"),
        ("settings.server.listen=0.0.0.0:9", "listen"),
        ("settings.aws.account_id=111122223333", "account_id"),
        ("settings.aws.region=europe", "region"),
        ("settings.issuers.corporate=null", "issuers"),
        ("settings.issuers.corporate.jwks_url=http://login.example.com/jwks", "jwks_url"),
        ("settings.issuers.corporate.audience=x", "audience"),
        ("settings.issuers.corporate.algorithms={HS256}", "algorithms"),
        ("replicaCount=two", "replicaCount"),
        ("image.tag=1", "tag"),
        ("image.digest=sha256:abc", "digest"),
        ("serviceAccount.roleArn=glacier-gateway", "roleArn"),
        ("service.type=ExternalName", "type"),
        ("policies.teams.media=1", "media"),
        ("policies.teams.a/b.Statement=x", "a/b"),
        ("policies.team.media.Statement=x", "team"),
        ("ingress.enabled=true", "host"),
        ("httpRoute.enabled=true", "parentRefs"),
        ("topologySpread[0].topologyKey=zone", "topologySpread"),
        ("secrets={Not_A_Name}", "secrets"),
        ("tls.certificate.issuerRef.nam=internal", "issuerRef"),
        ("tls.secret=1", "secret"),
        ("settings.server.tls.certificate_file=/x", "certificate_file"),
        ("settings.accounts.media.id=123", "id"),
        ("settings.accounts.media.role=x", "role"),
        ("settings.accounts.media/eu.id=x", "media/eu"),
        ("aws.accountsConfigMap=1", "accountsConfigMap"),
        ("settings.lifecycle.rules.stale.filter=x", "filter"),
        ("settings.lifecycle.rules.stale.mode=delete", "mode"),
        ("settings.jobs.concurrency=0", "concurrency"),
        ("lifecycle.rulesConfigMap=1", "rulesConfigMap"),
        ("env[0].value=x", "env"),
        ("podDisruptionBudget.maxUnavailable=some", "maxUnavailable"),
        ("serviceMonitor.interval=30", "interval"),
        ("settings.store.url=mysql://gateway@db/gateway", "url"),
        ("settings.store.url=postgres://gateway:secret@db/gateway", "url"),
        ("settings.store.url=sqlite:/tmp/store.db", "url"),
        ("settings.store.accept={everything}", "accept"),
        ("settings.audit.keep=long", "keep"),
        ("settings.audit.checkpoint_file=/tmp/checkpoint", "checkpoint_file"),
        ("audit.checkpoints.volume=hostPath", "volume"),
        ("store.accessMode=ReadWriteMany", "accessMode"),
        ("store.size=10", "size"),
        ("store.retention.schedule=monthly", "schedule"),
        ("store.retention.schedule=@monthly", "secret"),
    ],
)
def test_the_schema_refuses(wrong, path):
    done = template("--set", wrong, check=False)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr, done.stderr
    assert path in done.stderr, done.stderr


def test_without_account_region_and_issuer_nothing_is_rendered():
    done = helm("template", "gateway", CHART, check=False)
    for key in ("account_id", "region", "issuers"):
        assert key in done.stderr, done.stderr


def test_gateway_keys_do_instead_of_an_issuer():
    key = "/etc/glacier-gateway/secrets/master-key/key"
    template("--set", "settings.issuers=null", "--set", f"settings.keys.master_key_files.1={key}")


def volumes_of(rendered):
    """Of what each folder of the pod is made that it may write to."""
    pod = of_kind(rendered, "Deployment")["spec"]["template"]["spec"]
    mounted = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    return {
        mounted[volume["name"]]: volume.get("persistentVolumeClaim", {}).get("claimName", "emptyDir")
        for volume in pod["volumes"]
        if "configMap" not in volume and "secret" not in volume
    }


def claims_of(rendered):
    return {name: o for (kind, name), o in rendered.items() if kind == "PersistentVolumeClaim"}


def test_accounts_come_from_a_config_map_and_their_change_restarts_nothing(tmp_path):
    page = (ROOT / "docs/accounts.md").read_text()
    [values] = re.findall(r"```yaml\n(.*?)```", page, re.S)
    file = tmp_path / "accounts.yaml"
    file.write_text(values)
    rendered = objects("--values", file)
    folder = pod_files(rendered, tmp_path / "pod")
    assert [path.name for path in (folder / "accounts").glob("[!.]*")] == [ACCOUNT_FILE[0]]
    assert check_config(rendered, tmp_path / "another-pod").returncode == 0
    # The files are followed, so no checksum of them is in the pod's annotations.
    pod = of_kind(rendered, "Deployment")["spec"]["template"]["metadata"]
    assert set(pod["annotations"]) == {"checksum/settings", "checksum/policies"}
    twice = "settings.aws.accounts_directory=/etc/glacier-gateway/secrets/accounts"
    done = template("--values", file, "--set", twice, check=False)
    assert done.returncode != 0 and "leave settings.aws.accounts_directory out" in done.stderr


def test_sqlite_is_one_pod_that_gives_up_its_volume_before_the_next_starts():
    rendered = objects(values=SQLITE)
    deployment = of_kind(rendered, "Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"] == {"type": "Recreate", "rollingUpdate": None}
    assert volumes_of(rendered) == {
        "/var/lib/glacier-gateway": "gateway-glacier-gateway-store",
        "/var/lib/glacier-gateway-checkpoints": "gateway-glacier-gateway-checkpoints",
    }
    claims = claims_of(rendered)
    assert [claim["spec"]["accessModes"] for claim in claims.values()] == [["ReadWriteOncePod"]] * 2
    for claim in claims.values():
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("many", ["replicaCount=2", "autoscaling.enabled=true"])
def test_many_pods_on_sqlite_are_refused(many):
    done = template("--set", many, values=SQLITE, check=False)
    assert done.returncode != 0 and "SQLite, which is for one pod" in done.stderr, done.stderr


def test_existing_claims_are_used_and_none_is_made():
    existing = "store.existingClaim=a,audit.checkpoints.existingClaim=b"
    rendered = objects("--set", existing, values=SQLITE)
    assert list(volumes_of(rendered).values()) == ["a", "b"]
    assert claims_of(rendered) == {}


POSTGRES = "settings.store.url=postgres://gateway@db.example.com/gateway"


def test_postgresql_takes_many_pods_without_a_volume():
    rendered = objects("--set", POSTGRES)
    deployment = of_kind(rendered, "Deployment")["spec"]
    assert deployment["replicas"] == 2 and deployment["strategy"]["type"] == "RollingUpdate"
    assert volumes_of(rendered) == {} and claims_of(rendered) == {}


def test_pods_that_share_postgresql_share_the_checkpoints_volume():
    [claim] = claims_of(objects(values=CHART / "ci/full-values.yaml")).values()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    rendered = objects("--set", f"{POSTGRES},audit.checkpoints.volume=emptyDir")
    assert volumes_of(rendered) == {"/var/lib/glacier-gateway-checkpoints": "emptyDir"}


def test_the_network_policy_opens_postgresqls_port_and_no_other():
    def egress(*arguments, **options):
        return of_kind(objects(*arguments, **options), "NetworkPolicy")["spec"]["egress"]

    assert {"ports": [{"port": 5432}]} in egress("--set", POSTGRES)
    full = egress(values=CHART / "ci/full-values.yaml")
    peers = [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert {"ports": [{"port": 6432}], "to": peers} in full
    assert egress() == egress(values=SQLITE)


def test_the_network_policy_opens_the_collectors_port():
    def egress(endpoint):
        rendered = objects("--set", f"settings.telemetry.otlp.endpoint={endpoint}")
        return of_kind(rendered, "NetworkPolicy")["spec"]["egress"]

    before = of_kind(objects(), "NetworkPolicy")["spec"]["egress"]
    assert egress("http://collector:4318") == [*before, {"ports": [{"port": 4318}]}]
    assert egress("http://collector") == [*before, {"ports": [{"port": 80}]}]
    assert egress("https://collector.example.com") == before
    full = of_kind(objects(values=CHART / "ci/full-values.yaml"), "NetworkPolicy")
    labels = {"kubernetes.io/metadata.name": "telemetry"}
    peers = [{"namespaceSelector": {"matchLabels": labels}}]
    assert {"ports": [{"port": 4318}], "to": peers} in full["spec"]["egress"]


def test_tls_is_the_rest_listeners_and_leaves_the_probes_alone():
    plain, secure = objects(), objects("--set", "tls.secret=glacier-gateway-tls")
    assert not any(kind == "Certificate" for kind, _ in secure)
    for rendered, protocol in ((plain, "http"), (secure, "https")):
        [port] = rendered["Service", "gateway-glacier-gateway"]["spec"]["ports"]
        assert port["appProtocol"] == protocol
        [port] = rendered["Service", "gateway-glacier-gateway-management"]["spec"]["ports"]
        assert port["appProtocol"] == "http"
    [before], [after] = (
        of_kind(o, "Deployment")["spec"]["template"]["spec"]["containers"] for o in (plain, secure)
    )
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert before[probe] == after[probe] and "scheme" not in after[probe]["httpGet"]
    full = objects(values=CHART / "ci/full-values.yaml")
    certificate = of_kind(full, "Certificate")["spec"]
    assert certificate["secretName"] == "glacier-gateway-tls"
    inside = "gateway-glacier-gateway.platform.svc"
    assert {inside, "glacier.example.com"} <= set(certificate["dnsNames"])
    volumes = of_kind(full, "Deployment")["spec"]["template"]["spec"]["volumes"]
    keys = {v["name"]: [i["key"] for i in v["secret"]["items"]] for v in volumes if v["name"] in ("tls", "client-ca")}
    assert keys == {"tls": ["tls.crt", "tls.key"], "client-ca": ["ca.crt"]}


@pytest.mark.parametrize(
    "half",
    [
        "tls.clientCaSecret=callers-ca",
        "tls.certificate.issuerRef.name=internal",
        "settings.server.tls.client_teams.x={media}",
    ],
)
def test_tls_without_the_secret_is_refused(half):
    done = template("--set", half, check=False)
    assert done.returncode and "tls.secret" in done.stderr


def test_without_a_store_there_is_neither_a_volume_nor_a_checkpoint_file():
    rendered = objects("--set", "audit.checkpoints.volume=claim")
    assert volumes_of(rendered) == {} and claims_of(rendered) == {}
    assert rendered == objects()


def test_a_change_of_settings_or_policies_restarts_the_pods():
    def checksums(*arguments):
        template = of_kind(objects(*arguments), "Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]

    before = checksums()
    settings = checksums("--set", "settings.aws.max_attempts=4")
    policies = checksums("--set", "policies.teams.media.Statement=null,policies.teams.b.Statement=x")
    assert before["checksum/settings"] != settings["checksum/settings"]
    assert before["checksum/policies"] == settings["checksum/policies"]
    assert before["checksum/policies"] != policies["checksum/policies"]


def test_the_management_port_is_on_a_service_of_its_own():
    rendered = objects(values=CHART / "ci/full-values.yaml")
    ports = {
        name: [port["targetPort"] for port in o["spec"]["ports"]]
        for (kind, name), o in rendered.items()
        if kind == "Service"
    }
    assert ports == {
        "gateway-glacier-gateway": ["http"],
        "gateway-glacier-gateway-management": ["management"],
    }
    for kind in ("Ingress", "HTTPRoute"):
        assert "management" not in json.dumps(of_kind(rendered, kind)["spec"])


def test_services_select_the_pods_of_the_gateway_alone():
    rendered = objects(values=CHART / "ci/full-values.yaml")
    retention = of_kind(rendered, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    for other in (of_kind(rendered, "Pod"), retention):
        for (kind, name), o in rendered.items():
            if kind == "Service":
                labels = other["metadata"]["labels"]
                assert not o["spec"]["selector"].items() <= labels.items(), name


def test_retention_has_the_owners_password_and_the_gateway_has_not():
    rendered = objects(values=CHART / "ci/full-values.yaml")
    job = of_kind(rendered, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    secrets = [v["secret"]["secretName"] for v in job["volumes"] if "secret" in v]
    assert secrets == ["store-owner"]
    assert "store-owner" not in json.dumps(of_kind(rendered, "Deployment"))
    retain = "store.retention.schedule=@monthly,store.retention.secret=x"
    retain += ",store.retention.url=postgres://owner@db/gateway"
    done = template("--set", retain, values=SQLITE, check=False)
    assert done.returncode != 0 and "is for PostgreSQL" in done.stderr, done.stderr


def test_a_pod_has_time_for_its_delay_and_its_requests_before_it_is_killed():
    pod = of_kind(objects(values=CHART / "ci/full-values.yaml"), "Deployment")["spec"]["template"]
    pod = pod["spec"]
    assert pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == 10
    assert pod["terminationGracePeriodSeconds"] > 10 + 45


def test_the_role_goes_to_the_service_account():
    role = "arn:aws:iam::111122223333:role/glacier-gateway"
    rendered = objects("--set", f"serviceAccount.roleArn={role}")
    account = of_kind(rendered, "ServiceAccount")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": role}


def test_a_team_may_have_a_dot_and_json_text_stays_as_it_is(tmp_path):
    policies = pod_files(objects(values=CHART / "ci/full-values.yaml"), tmp_path) / "policies"
    assert (policies / "teams/data.science_2.json").exists()
    given = yaml.safe_load((CHART / "ci/full-values.yaml").read_text())["policies"]
    assert (policies / "teams/media.json").read_text() == given["teams"]["media"]


def test_what_the_documentation_says_fits_together(tmp_path):
    page = (ROOT / "docs/deploy.md").read_text()
    first, *stores = re.findall(r"```yaml\n(.*?)```", page, re.S)
    values = tmp_path / "values.yaml"
    values.write_text(first)
    added, kinds = [], []
    for i, store in enumerate(["{}", *stores]):
        file = tmp_path / f"store-{i}.yaml"
        file.write_text(store)
        added += ["--values", file]
        rendered = objects(*added, values=values)
        done = check_config(rendered, tmp_path / f"pod-{i}")
        assert done.returncode == 0, done.stderr
        settings = rendered["ConfigMap", "gateway-glacier-gateway-settings"]["data"]["config.toml"]
        kinds.append(tomllib.loads(settings).get("store", {}).get("url", "none").partition(":")[0])
    assert kinds == ["none", "none", "sqlite", "postgres", "postgres"]

    release, namespace = "glacier-gateway", "glacier-gateway"
    assert f"helm upgrade --install {release} helm/glacier-gateway" in page
    rendered = helm("template", release, CHART, "--namespace", namespace, "--values", values)
    rendered = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(rendered.stdout)}
    [port] = rendered["Service", "glacier-gateway"]["spec"]["ports"]
    assert f"port-forward service/glacier-gateway 8080:{port['port']}" in page
    account = of_kind(rendered, "ServiceAccount")["metadata"]
    trust = json.loads((ROOT / "deploy/aws-trust-policy.json").read_text())
    [subject] = [
        value
        for key, value in trust["Statement"][0]["Condition"]["StringEquals"].items()
        if key.endswith(":sub")
    ]
    assert subject == f"system:serviceaccount:{account['namespace']}:{account['name']}"


def notes(*arguments):
    arguments = ("--namespace", "platform", "--values", CHART / "ci/default-values.yaml", *arguments)
    done = helm("install", "gateway", CHART, "--dry-run=client", *arguments)
    return done.stdout.partition("NOTES:")[2]


def test_the_notes_lead_to_the_first_call():
    local = notes()
    assert "port-forward service/gateway-glacier-gateway 8080:80" in local
    assert "curl -i" in local and "multipart-uploads/UPLOAD_ID" in local
    assert "EKS Pod Identity" in local
    public = notes(
        "--set", "ingress.enabled=true,ingress.host=glacier.example.com,ingress.tlsSecret=x",
        "--set", "serviceAccount.roleArn=arn:aws:iam::111122223333:role/g",
    )  # fmt: skip
    assert "GATEWAY=https://glacier.example.com" in public
    assert "EKS Pod Identity" not in public


def test_the_notes_say_what_the_trail_lacks():
    store = "settings.store.url=sqlite:/var/lib/glacier-gateway/store.db,replicaCount=1"
    key = "settings.audit.key_files.1=/etc/glacier-gateway/secrets/audit-key/key"
    for values, said in [
        ("replicaCount=1", "There is no audit trail"),
        (store, "is not signed"),
        (f"{store},{key}", "Nothing outside of the store"),
        (f"{store},{key},audit.checkpoints.volume=emptyDir", "are lost with each pod"),
    ]:
        assert said in notes("--set", values)
    kept = notes("--set", f"{store},{key},audit.checkpoints.volume=claim")
    assert "trail" not in kept and "checkpoints" not in kept


def test_the_default_rendering_is_the_committed_one():
    rendered = template().stdout
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(rendered)
    assert rendered == SNAPSHOT.read_text(), "if this is meant, run UPDATE_SNAPSHOT=1 make chart"


def test_the_readmes_tables_are_made_of_the_values(tmp_path):
    readme = shutil.copy(CHART / "README.md", tmp_path)
    generator = ROOT / "tests/chart/node_modules/.bin/readme-generator"
    run(generator, "--values", CHART / "values.yaml", "--readme", readme)
    if os.environ.get("UPDATE_SNAPSHOT"):
        shutil.copy(readme, CHART / "README.md")
    with open(readme) as file:
        assert file.read() == (CHART / "README.md").read_text(), (
            "if this is meant, run UPDATE_SNAPSHOT=1 make chart"
        )


def test_the_package_holds_the_chart_and_renders_the_same(tmp_path):
    helm("package", CHART, "--destination", tmp_path)
    [package] = tmp_path.iterdir()
    assert package.name == f"glacier-gateway-{VERSION}.tgz"
    rendered = helm(
        "template", "gateway", package, "--namespace", "platform",
        "--values", CHART / "ci/default-values.yaml",
    )  # fmt: skip
    assert rendered.stdout == template().stdout


# What checkov finds in the objects and why it stays.
EXPLAINED = {
    ("CKV_K8S_11", "Deployment"): "a CPU limit would slow requests on an idle node; "
    "the request guards the neighbours, and `resources.limits.cpu` sets one",
    ("CKV_K8S_11", "CronJob"): "nobody waits for it, and it needs little",
    ("CKV_K8S_11", "Pod"): "the pod of `helm test` lives for a moment",
    ("CKV_K8S_15", "Deployment"): "released tags do not move; `image.pullPolicy` is there",
    ("CKV_K8S_15", "Pod"): "as the Deployment's",
    ("CKV_K8S_43", "Deployment"): "only the operator knows the digest: `image.digest`",
    ("CKV_K8S_43", "Pod"): "as the Deployment's",
    ("CKV_K8S_35", "Deployment"): "the AWS SDK reads its own variables; IRSA needs none",
    ("CKV_K8S_8", "Pod"): "the pod of `helm test` runs to its end",
    ("CKV_K8S_9", "Pod"): "nobody calls the pod of `helm test`",
    ("CKV2_K8S_6", "Pod"): "the pod of `helm test` listens to nothing; checkov also counts the "
    "Deployment's as a pod where `networkPolicy.enabled` is false",
}


def test_checkov_finds_nothing_that_is_not_explained(tmp_path):
    found = set()
    for values in CHART.glob("ci/*-values.yaml"):
        manifest = tmp_path / values.name
        manifest.write_text(template(values=values).stdout)
        results = checkov("--framework", "kubernetes", "--file", manifest)
        assert results["summary"]["passed"] > 100
        for check in results["results"]["failed_checks"]:
            found.add((check["check_id"], check["resource"].partition(".")[0]))
    assert found == set(EXPLAINED)


def test_checkov_finds_nothing_in_the_dockerfile():
    results = checkov("--framework", "dockerfile", "--file", ROOT / "Dockerfile")
    assert results["summary"]["passed"] > 50
    assert results["results"]["failed_checks"] == []


def checkov(*arguments):
    command = (TOOLS / "python", TOOLS / "checkov", "--skip-download", "--output", "json")
    return json.loads(run(*command, *arguments, check=False).stdout)


def test_hadolint_finds_nothing_in_the_dockerfile():
    run(TOOLS / "hadolint", ROOT / "Dockerfile")
