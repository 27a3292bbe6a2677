/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about the registry values that a miniport can see. */
#include "machine_rig.h"

#include <stdio.h>
#include <string.h>

#include "nt/registry.h"

static void a_value_is_found_as_it_was_set_whatever_the_case(void **state)
{
	const struct registry_value *value;

	(void)state;
	assert_true(registry_set("QueueDepth", false, 4, &(uint32_t){ 32 }, 4));
	value = registry_find("qUEUEdEPTH", false);
	assert_non_null(value);
	assert_int_equal(value->type, 4);
	assert_int_equal(value->size, 4);
	assert_memory_equal(value->data, (&(uint32_t){ 32 }), 4);
	assert_null(registry_find("QueueDept", false));
}

static void the_two_keys_are_apart(void **state)
{
	(void)state;
	assert_true(registry_set("Name", true, 1, "all", 4));
	assert_null(registry_find("Name", false));
	assert_true(registry_set("Name", false, 1, "one", 4));
	assert_string_equal((const char *)registry_find("Name", true)->data, "all");
	assert_string_equal((const char *)registry_find("Name", false)->data, "one");
}

static void a_value_that_is_set_again_is_replaced(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_true(registry_set("Name", true, 3, &i, sizeof(i)));
	assert_true(registry_set("NAME", true, 1, "x", 2));
	assert_int_equal(registry_find("Name", true)->type, 1);
	assert_int_equal(registry_find("Name", true)->size, 2);
}

static void what_does_not_fit_is_refused_and_changes_nothing(void **state)
{
	uint8_t data[REGISTRY_DATA_MAX + 1] = { 7 };
	char name[80];

	(void)state;
	assert_true(registry_set("Name", true, 3, data, REGISTRY_DATA_MAX));
	assert_false(registry_set("Name", true, 1, data, REGISTRY_DATA_MAX + 1));
	assert_int_equal(registry_find("Name", true)->type, 3);
	assert_int_equal(registry_find("Name", true)->size, REGISTRY_DATA_MAX);
	assert_false(registry_set("", true, 3, data, 1));
	memset(name, 'n', sizeof(name));
	name[64] = '\0';
	assert_false(registry_set(name, true, 3, data, 1));
	name[63] = '\0';
	assert_true(registry_set(name, true, 3, data, 1));
	assert_non_null(registry_find(name, true));
}

static void a_full_registry_refuses_new_names_only(void **state)
{
	char name[16] = "";
	unsigned count = 0;

	(void)state;
	do
		snprintf(name, sizeof(name), "value%u", count);
	while (registry_set(name, true, 4, &count, sizeof(count)) && ++count < 1000);
	assert_in_range(count, 16, 999);
	assert_null(registry_find(name, true));
	assert_true(registry_set("value0", true, 4, &count, sizeof(count)));
	assert_memory_equal(registry_find("value0", true)->data, &count, sizeof(count));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_value_is_found_as_it_was_set_whatever_the_case),
		ISOLATED(the_two_keys_are_apart),
		ISOLATED(a_value_that_is_set_again_is_replaced),
		ISOLATED(what_does_not_fit_is_refused_and_changes_nothing),
		ISOLATED(a_full_registry_refuses_new_names_only),
	};

	return cmocka_run_group_tests_name("nt/registry", tests, NULL, NULL);
}
