#!/usr/bin/env bash
# A trial of `tensorwire scaler` with the real KEDA: a Deployment of `tensorwire serve` goes up while it is
# called, by the rate of its own metrics, and down afterwards. The cluster runs, with KEDA in it, and
# make-image.sh has loaded dev.local/tensorwire:test.
#
#   TENSORWIRE_CLUSTER=FOLDER test/cluster/keda-scaler.sh
. "$(dirname "$0")/lib.sh"

# One that still goes is waited for.
k delete namespace shop --ignore-not-found --timeout=120s >/dev/null
k create namespace shop --dry-run=client -o yaml | k apply -f - >/dev/null
k -n shop create configmap iris --from-file=model.onnx="$root/examples/models/iris/1/model.onnx" \
  --dry-run=client -o yaml | k apply -f - >/dev/null
sed 's#image: tensorwire:0.1.0#image: dev.local/tensorwire:test#' "$root/deploy/keda/scaler.yaml" | k apply -f - >/dev/null
k apply -f "$root/test/cluster/keda-scaler.yaml" >/dev/null

replicas() { k -n shop get deployment iris -o "jsonpath=n={.spec.replicas} ready={.status.readyReplicas}"; }
call() {
  in_cluster curl -sf -m 5 "http://$address:8080/v2/models/iris/infer" \
    -d '{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}'
}

check "the scaler is ready" k -n keda wait --for=condition=Available deployment/tensorwire-scaler --timeout=90s
check "the predictor is ready" k -n shop wait --for=condition=Available deployment/iris --timeout=90s
check "KEDA takes the ScaledObject" k -n shop wait --for=condition=Ready scaledobject/iris --timeout=60s
address=$(k -n shop get service iris -o jsonpath='{.spec.clusterIP}')
check "a call is answered" within 20 call
check "one replica without load" says '^n=1 ' replicas

# 20 calls a second for a minute and a half, in the background; 4 are to be for each pod.
(for _ in $(seq 90); do for _ in $(seq 20); do call >/dev/null 2>&1 & done; sleep 1; done; wait) &
load=$!
check "up to the most while it is called" within 80 says '^n=3 ready=3' replicas
check "the scaler shows what it told" says 'tensorwire_scaler_value\{[^}]*scaled_object="iris"[^}]*\} [1-9]' \
  in_cluster curl -s "http://$(k -n keda get service tensorwire-scaler -o jsonpath='{.spec.clusterIP}'):9095/metrics"
wait $load
check "back to one afterwards" within 120 says '^n=1 ' replicas

k delete namespace shop --wait=false >/dev/null
k delete -f "$root/deploy/keda/scaler.yaml" >/dev/null
verdict
