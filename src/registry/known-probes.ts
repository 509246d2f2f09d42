/**
 * Programs that request `/v2/` and are known not to be registry clients: tools of people, and health checks. Each is
 * the beginning of a User-Agent, in any case, and the product name must end there: "curl" matches `curl/8.5.0`, not
 * `curlish/1.0`. A name that ends in "*" is a prefix.
 */
export const knownProbes: readonly string[] = [
  'curl', // curl/8.5.0
  'Wget', // Wget/1.21.3
  'Mozilla', // browsers, and what calls itself one: Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)
  'HTTPie', // HTTPie/3.2.2
  'ansible-httpget',
  'kube-probe', // kube-probe/1.29
  'ELB-HealthChecker', // AWS: ELB-HealthChecker/2.0
  'GoogleHC', // Google Cloud's load balancers: GoogleHC/1.0
  'GoogleStackdriverMonitoring-UptimeChecks', // GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)
  'Amazon-Route53-Health-Check-Service', // Amazon-Route53-Health-Check-Service (ref …; report http://amzn.to/1vsZADi)
  'Edge Health Probe', // Azure Front Door
  'Load Balancer Agent', // Azure Load Balancer
  'clb-healthcheck', // Tencent Cloud
  'Envoy/HC',
  'HAProxy',
  'Nomad',
  'Consul Health Check',
  'Prometheus', // Prometheus/2.51.0
  'Blackbox Exporter', // Blackbox Exporter/0.25.0
  'UptimeRobot',
  'Uptime-Kuma', // Uptime-Kuma/1.23.11
  'Gatus', // Gatus/1.0
  'Pingdom',
  'Pingdom.com_bot_version_*', // Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)
  'Site24x7',
  'Zabbix', // Zabbix, and Zabbix 6.4
  'Monit', // Monit/5.33.0
  'check_http', // check_http/v2.3.1 (monitoring-plugins 2.3.1)
  'check_curl', // check_curl/v2.3.5 (monitoring-plugins 2.3.5, libcurl/7.88.1 …)
];
