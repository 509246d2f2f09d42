import { hostname } from 'node:os';
import type { Command } from 'commander';
import { createTestAlert } from '../alerts/alert.ts';
import { openChannels } from '../alerts/channels.ts';
import { loadConfig } from '../config/load/load.ts';
import { OperatorError } from '../system/operator-error.ts';
import { loadAlertsCa } from '../app/pem-files.ts';
import { addConfigOptions, readConfigOptions } from './config.ts';

/** Adds `alert test`: tests whether alerts arrive. */
export function addAlertCommand(program: Command): void {
  const alert = program.command('alert').description('test the alerts');
  const test = alert.command('test').description('send one test message through each configured channel');
  addConfigOptions(test).action(async () => {
    const { config } = await loadConfig(readConfigOptions(test));
    const { alerts } = config;
    const ca = alerts.ca === null ? null : (await loadAlertsCa(alerts.ca)).pem;
    const channels = await openChannels({ ...alerts, ca });
    if (channels.length === 0) {
      throw new OperatorError(
        'No alerts are sent: set alerts.webhook, or alerts.smtp.url with alerts.smtp.from and alerts.smtp.to.',
      );
    }
    const failures: string[] = [];
    for (const { name, send } of channels) {
      try {
        await send(createTestAlert(hostname(), new Date()));
        process.stdout.write(`${name}: sent\n`);
      } catch (error) {
        failures.push(
          `${name}: not sent (${(error as Error).message}); look at the keys below alerts in the configuration.`,
        );
      }
    }
    if (failures.length > 0) throw new OperatorError(failures.join('\n'));
  });
}
