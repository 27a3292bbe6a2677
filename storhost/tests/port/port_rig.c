/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The miniport and the PCI function of the port tests. */
#include "port_rig.h"

#include <string.h>

#define RAM_BYTES ((uint64_t)96 << 20)
#define EXTENSION_BYTES 64u
#define SRB_EXTENSION_BYTES 200u

struct rig rig = { .cpus = 1, .seed = 1 };
struct rig_request rig_requests[RIG_REQUESTS];
static STOR_DPC dpc;
static struct {
	void (*in_dpc)(void), (*in_interrupt)(void);
	struct gate gate;
} errand;

/* ---- the PCI function ---- */

static uint32_t function_config_read(struct device *device, unsigned offset, unsigned width)
{
	(void)device;
	return offset ? 0 : 0x10011af4 & (uint32_t)((1ull << 8 * width) - 1);
}

static void function_config_write(struct device *device, unsigned offset, unsigned width, uint32_t value)
{
	(void)device;
	(void)offset;
	(void)width;
	(void)value;
}

static uint64_t function_bar_length(struct device *device, unsigned bar)
{
	(void)device;
	(void)bar;
	return 0;
}

static bool function_step(struct device *device, uint64_t random)
{
	(void)device;
	(void)random;
	return false;
}

static bool function_owes(struct device *device)
{
	(void)device;
	return rig.device_owes;
}

static bool function_running(struct device *device)
{
	(void)device;
	return false;
}

static void function_pulled_out(struct device *device)
{
	(void)device;
	if (rig.pulled_out)
		rig.pulled_out();
}

static void function_power_cycle(struct device *device)
{
	(void)device;
}

static const struct device_ops function_ops = {
	.name = "a function with a line",
	.config_read = function_config_read,
	.config_write = function_config_write,
	.bar_length = function_bar_length,
	.step = function_step,
	.owes = function_owes,
	.running = function_running,
	.pulled_out = function_pulled_out,
	.power_cycle = function_power_cycle,
};

/* ---- the miniport ---- */

static VOID NTAPI hw_dpc(PSTOR_DPC object, PVOID extension, PVOID argument1, PVOID argument2)
{
	(void)object;
	(void)extension;
	(void)argument1;
	(void)argument2;
	errand.in_dpc();
	gate_open(&errand.gate);
}

static BOOLEAN NTAPI hw_passive_initialize(PVOID extension)
{
	StorPortNotification(InitializeDpc, extension, &dpc, hw_dpc);
	return TRUE;
}

static BOOLEAN NTAPI hw_initialize(PVOID extension)
{
	LONG accepted = 0;

	StorPortNotification(EnablePassiveInitialization, extension, hw_passive_initialize, &accepted);
	return (BOOLEAN)accepted;
}

static ULONG NTAPI hw_find_adapter(PVOID extension, PVOID context, PVOID bus, PCHAR argument,
				   PPORT_CONFIGURATION_INFORMATION config, PBOOLEAN again)
{
	(void)context;
	(void)bus;
	(void)argument;
	rig.extension = extension;
	config->MaximumTransferLength = 1u << 20;
	config->NumberOfPhysicalBreaks = 64;
	config->SynchronizationModel = StorSynchronizeFullDuplex;
	config->NumberOfBuses = 1;
	config->MaximumNumberOfTargets = 1;
	config->MaximumNumberOfLogicalUnits = 1;
	config->ResetTargetSupported = TRUE;
	config->Dma64BitAddresses = SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
	if (rig.configure)
		rig.configure(config);
	*again = FALSE;
	return SP_RETURN_FOUND;
}

static BOOLEAN NTAPI hw_build_io(PVOID extension, PSCSI_REQUEST_BLOCK srb)
{
	(void)extension;
	__atomic_add_fetch(&rig.built, 1, __ATOMIC_ACQ_REL);
	return rig.build_io ? rig.build_io(srb) : TRUE;
}

static BOOLEAN NTAPI hw_start_io(PVOID extension, PSCSI_REQUEST_BLOCK srb)
{
	(void)extension;
	rig.started++;
	if (srb->Function != SRB_FUNCTION_EXECUTE_SCSI)
		rig.functions[rig.function_count++ % sizeof(rig.functions)] = srb->Function;
	if (srb->Function == SRB_FUNCTION_PNP)
		rig_complete(srb, SRB_STATUS_SUCCESS);
	else if (rig.start_io)
		rig.start_io(srb);
	else
		rig.held[rig.held_count++ % RIG_REQUESTS] = srb;
	return TRUE;
}

static BOOLEAN NTAPI hw_interrupt(PVOID extension)
{
	LONG queued = 0;

	/* Its status register, so to speak. */
	if (port_unplugged(rig.port) || !interrupt_asserted(&rig.port->line.interrupt))
		return FALSE;
	rig.device.bus.set_intx(rig.device.bus.opaque, false);
	if (errand.in_interrupt) {
		errand.in_interrupt();
		gate_open(&errand.gate);
	} else {
		StorPortNotification(IssueDpc, extension, &dpc, NULL, NULL, &queued);
	}
	return TRUE;
}

static BOOLEAN NTAPI hw_reset_bus(PVOID extension, ULONG path)
{
	(void)extension;
	(void)path;
	rig.functions[rig.function_count++ % sizeof(rig.functions)] = 0xff;
	return rig.reset_bus ? rig.reset_bus() : TRUE;
}

static SCSI_ADAPTER_CONTROL_STATUS NTAPI hw_adapter_control(PVOID extension, SCSI_ADAPTER_CONTROL_TYPE type,
							    PVOID parameters)
{
	SCSI_SUPPORTED_CONTROL_TYPE_LIST *list = parameters;

	(void)extension;
	if (type == ScsiQuerySupportedControlTypes)
		list->SupportedTypeList[ScsiStopAdapter] = list->SupportedTypeList[ScsiRestartAdapter] = TRUE;
	return ScsiAdapterControlSuccess;
}

static void driver_entry(void *opaque)
{
	HW_INITIALIZATION_DATA *init = &rig.init;
	struct frame frame;

	init->HwInitializationDataSize = sizeof(*init);
	init->AdapterInterfaceType = PCIBus;
	init->HwInitialize = hw_initialize;
	init->HwStartIo = hw_start_io;
	init->HwInterrupt = hw_interrupt;
	init->HwFindAdapter = hw_find_adapter;
	init->HwResetBus = hw_reset_bus;
	init->HwAdapterControl = hw_adapter_control;
	init->HwBuildIo = hw_build_io;
	init->DeviceExtensionSize = EXTENSION_BYTES;
	init->SrbExtensionSize = SRB_EXTENSION_BYTES;
	init->NeedPhysicalAddresses = init->TaggedQueuing = init->AutoRequestSense = init->MultipleRequestPerLu = TRUE;
	callback_enter(&frame, CB_DRIVER_ENTRY);
	*(ULONG *)opaque = StorPortInitialize(rig.port->driver_object, rig.port->registry_path, init, NULL);
	callback_leave(&frame);
}

void rig_port(void)
{
	const struct port_options options = { .interrupts = INTERRUPT_LINE, .seed = rig.seed, .quiet = true };
	struct error err = { "" };
	ULONG status = 1;

	rig.device.ops = &function_ops;
	if (phys_start(RAM_BYTES, rig.seed, &err))
		fail_msg("%s", err.text);
	rig_machine(rig.cpus, rig.threads, rig.seed);
	/* There is no driver file: what port_load does before it opens one is what is wanted. */
	assert_int_equal(port_load("/nonexistent/miniport.sys", &rig.device, &options, &rig.port, &err), -1);
	assert_non_null(rig.port);
	rig_on(0, driver_entry, &status);
	assert_int_equal(status, 0);
	if (port_start(rig.port, &err))
		fail_msg("%s", err.text);
	/* Nobody asks a unit of the rig's what it is. */
	rig.port->inquired = true;
	rig_no_findings();
}

/* ---- requests ---- */

static void request_done(struct port_request *request)
{
	struct rig_request *mine = request->opaque;

	mine->irql = cpu_self()->irql;
	mine->callback = cpu_self()->callback;
	__atomic_add_fetch(&mine->done, 1, __ATOMIC_ACQ_REL);
}

struct rig_request *rig_request(unsigned n)
{
	struct rig_request *request = &rig_requests[n];

	memset(&request->request, 0, sizeof(request->request));
	request->done = 0;
	request->request.timeout = 10;
	request->request.cdb_length = 6;
	request->request.done = request_done;
	request->request.opaque = request;
	request->request.data = request->data;
	return request;
}

uint8_t rig_pattern(unsigned n, uint32_t i)
{
	return (uint8_t)(n * 31 + i * 7 + i / 251);
}

struct rig_request *rig_data_request(unsigned n, enum request_direction direction, uint32_t length)
{
	struct rig_request *request = rig_request(n);

	request->request.direction = direction;
	request->request.length = length;
	for (uint32_t i = 0; i < length; i++)
		request->data[i] = rig_pattern(n, i);
	return request;
}

void rig_submit(struct rig_request *request)
{
	port_submit(rig.port, &request->request);
	rig_settle();
}

static void nothing(void *opaque)
{
	(void)opaque;
}

void rig_settle(void)
{
	/* Work for a processor is done in order, and what it deferred before it takes the next. */
	for (unsigned cpu = 0; cpu < rig.cpus; cpu++)
		rig_on(cpu, nothing, NULL);
}

unsigned rig_done(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < RIG_REQUESTS; i++)
		count += __atomic_load_n(&rig_requests[i].done, __ATOMIC_ACQUIRE);
	return count;
}

static void run_errand(void)
{
	errand.gate = (struct gate){ .open = false };
	rig.device.bus.set_intx(rig.device.bus.opaque, true);
	if (!cpu_wait(&errand.gate))
		fail_msg("the machine died: %s", cpu_death());
	rig_settle();
}

void rig_in_dpc(void (*fn)(void))
{
	errand.in_interrupt = NULL;
	errand.in_dpc = fn;
	run_errand();
}

void rig_in_interrupt(void (*fn)(void))
{
	errand.in_interrupt = fn;
	run_errand();
}

/* ---- for hooks ---- */

void rig_complete(SCSI_REQUEST_BLOCK *srb, UCHAR status)
{
	srb->SrbStatus = status;
	StorPortNotification(RequestComplete, rig.extension, srb);
}

void rig_complete_all(void)
{
	SCSI_REQUEST_BLOCK *held[RIG_REQUESTS];
	unsigned count = rig.held_count;

	/* While they are completed others are started, and held. */
	memcpy(held, rig.held, sizeof(held));
	rig.held_count = 0;
	for (unsigned i = 0; i < count; i++)
		rig_complete(held[i], SRB_STATUS_SUCCESS);
}

void rig_start_and_succeed(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, SRB_STATUS_SUCCESS);
}
