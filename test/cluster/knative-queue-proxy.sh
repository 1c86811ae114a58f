#!/usr/bin/env bash
# A trial of `tensorwire queue-proxy` as the sidecar of the real Knative: `queue-sidecar-image` names it, and
# Knative's own autoscaler works on its statistics. The cluster runs, with Knative in it, and make-image.sh has
# loaded dev.local/tensorwire:test and, with the command queue-proxy, dev.local/tensorwire-queue:test.
#
#   TENSORWIRE_CLUSTER=FOLDER test/cluster/knative-queue-proxy.sh
. "$(dirname "$0")/lib.sh"

k -n knative-serving get configmap config-deployment -o jsonpath='{.data.queue-sidecar-image}' >/tmp/sidecar.$$
trap 'k -n knative-serving patch configmap config-deployment -p "{\"data\":{\"queue-sidecar-image\":\"$(cat /tmp/sidecar.$$)\"}}" >/dev/null; rm -f /tmp/sidecar.$$' EXIT
k -n knative-serving patch configmap config-deployment \
  -p '{"data":{"queue-sidecar-image":"dev.local/tensorwire-queue:test"}}' >/dev/null
# One that still goes is waited for.
k delete namespace shop --ignore-not-found --timeout=120s >/dev/null
k create namespace shop --dry-run=client -o yaml | k apply -f - >/dev/null
k -n shop create configmap iris --from-file=model.onnx="$root/examples/models/iris/1/model.onnx" \
  --dry-run=client -o yaml | k apply -f - >/dev/null
k apply -f "$root/test/cluster/knative-queue-proxy.yaml" >/dev/null

gateway=$(k -n kourier-system get service kourier -o jsonpath='{.spec.clusterIP}')
host=$(k -n shop get ksvc iris -o jsonpath='{.status.url}' 2>/dev/null | sed 's#http://##')
infer() { # [SECONDS]
  in_cluster curl -sf -m "${1:-10}" -H "Host: $host" "http://$gateway/v2/models/iris/infer" \
    -d '{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}'
}
pods() { k -n shop get pods -l serving.knative.dev/service=iris --field-selector=status.phase=Running -o name | wc -l; }
pods_are() { [ "$(pods)" "$1" "$2" ]; }

check "the service is ready" k -n shop wait --for=condition=Ready ksvc/iris --timeout=120s
host=$(k -n shop get ksvc iris -o jsonpath='{.status.url}' | sed 's#http://##')
pod=$(k -n shop get pods -l serving.knative.dev/service=iris -o jsonpath='{.items[0].metadata.name}')
check "its sidecar is ours" says 'dev.local/tensorwire-queue:test' \
  k -n shop get pod "$pod" -o jsonpath='{.spec.containers[?(@.name=="queue-proxy")].image}'
check "a call through the gateway is answered" within 30 says '"outputs"' infer
check "its log has no error" bash -c "! '$cluster/kubectl.sh' -n shop logs $pod -c queue-proxy | grep -E '\"level\":\"(error|fatal)\"'"

# containerConcurrency is 2 and a call of the slow model takes 500 ms: 20 at once want 10 pods and more.
slow() {
  in_cluster curl -s -w ' %{http_code}\n' -m 60 -H "Host: $host" "http://$gateway/v2/models/slow/infer" \
    -d '{"inputs":[{"name":"x","datatype":"INT32","shape":[1],"data":[1]}]}'
}
results=$(mktemp)
(for _ in $(seq 20); do (for _ in $(seq 40); do slow; done) & done; wait) >"$results" &
load=$!
check "Knative's autoscaler adds pods by its statistics" within 60 pods_are -ge 2
wait $load
most=$(sed -n 's/.*"data":\[\([0-9]*\)\].*/\1/p' "$results" | sort -n | tail -1)
check "containerConcurrency holds: at most 2 at once in a pod, seen ${most:-none}" [ "${most:-9}" -le 2 ]
check "every one of 800 calls is answered, $(grep -c ' 200$' "$results") were" [ "$(grep -c ' 200$' "$results")" = 800 ]
check "to zero afterwards" within 150 pods_are = 0
check "and back for the next call" says '"outputs"' infer 60

k delete namespace shop --wait=false >/dev/null
rm -f "$results"
verdict
