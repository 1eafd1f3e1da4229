// Holds custom resources, a JSON list on standard input, against their published
// models. Kubernetes' own kinds are kubernetes-validate's business.
import { readFileSync } from "node:fs";
import { Certificate } from "@kubernetes-models/cert-manager/cert-manager.io/v1/Certificate";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const models = { Certificate, HTTPRoute, PrometheusRule, ServiceMonitor };
for (const object of JSON.parse(readFileSync(0))) {
  new models[object.kind](object).validate();
}
