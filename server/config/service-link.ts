/**
 * Whether Kubernetes made a variable: it puts such into every pod of a namespace that has a Service
 * whose name begins with `tensorwire`, also one like `tensorwire-predictor`
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
 */
export function isServiceLink(variable: string, text: string): boolean {
  return (
    /^TENSORWIRE_(\w+_)?SERVICE_(HOST|PORT(_\w+)?)$/.test(variable) ||
    /^TENSORWIRE_(\w+_)?PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable) ||
    (/^TENSORWIRE_(\w+_)?PORT$/.test(variable) && /^(tcp|udp|sctp):\/\//.test(text))
  );
}
