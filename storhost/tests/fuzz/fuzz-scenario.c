/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fuzz target: a file that says it is a scenario, to where it would be run. */
#include "front/machine.h"
#include "scenario/scenario.h"
#include "target.h"

static int option(void *opaque, const char *name, const char *value, struct error *err)
{
	int known = machine_option(opaque, name, value, err);

	return known > 0 ? error_set(err, "there is no option '%s'", name) : known;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct machine_options options;
	struct scenario_host host = { .opaque = &options, .option = option };
	struct scenario *scenario;
	struct error err;

	machine_defaults(&options);
	scenario = scenario_parse("file", (const char *)bytes, size, &err);
	if (scenario && !scenario_claim(scenario))
		abort();
	if (scenario)
		scenario_check(scenario, &host, &err);
	scenario_free(scenario);
	return 0;
}
