# SPDX-License-Identifier: MIT OR Apache-2.0
# invoke_aero_virtio_win7_tests.py under PowerShell's names for its options; it decides and checks nothing itself.
<#
.SYNOPSIS
Boots a Windows 7 image with a virtio disk in QEMU and judges the driver in it.
.DESCRIPTION
Every parameter is the Python program's option of the same name (-VirtioBlkVectors is --virtio-blk-vectors), and its
exit status is handed on. -Help has it explain them. -QemuArguments are what it takes after --. -Python names the
interpreter, 3.9 or later.
.EXAMPLE
.\Invoke-AeroVirtioWin7Tests.ps1 -DiskImage win7.qcow2 -RequireVirtioBlkMsix -WithBlkResize
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [string]$DiskImage,
    [switch]$NoDiskImage,
    [string]$ImageFormat,
    [string]$BootBus,
    [int]$BlankDiskMiB,
    [switch]$KeepChanges,
    [string]$QemuSystem,
    [string]$Machine,
    [string]$Accel,
    [int]$MemoryMiB,
    [int]$Smp,
    [int]$VirtioMsixVectors,
    [int]$VirtioBlkVectors,
    [switch]$QemuPreflightPci,
    [switch]$RequireVirtioBlkMsix,
    [switch]$WithBlkResize,
    [int]$BlkResizeDeltaMiB,
    [switch]$WithBlkReset,
    [int]$BootTimeout,
    [int]$TestTimeout,
    [int]$ShutdownTimeout,
    [string]$Output,
    [switch]$DryRun,
    [switch]$Help,
    [string[]]$QemuArguments,
    [string]$Python
)

$options = [ordered]@{
    DiskImage            = '--disk-image'
    NoDiskImage          = '--no-disk-image'
    ImageFormat          = '--image-format'
    BootBus              = '--boot-bus'
    BlankDiskMiB         = '--blank-disk-mib'
    KeepChanges          = '--keep-changes'
    QemuSystem           = '--qemu-system'
    Machine              = '--machine'
    Accel                = '--accel'
    MemoryMiB            = '--memory-mib'
    Smp                  = '--smp'
    VirtioMsixVectors    = '--virtio-msix-vectors'
    VirtioBlkVectors     = '--virtio-blk-vectors'
    QemuPreflightPci     = '--qemu-preflight-pci'
    RequireVirtioBlkMsix = '--require-virtio-blk-msix'
    WithBlkResize        = '--with-blk-resize'
    BlkResizeDeltaMiB    = '--blk-resize-delta-mib'
    WithBlkReset         = '--with-blk-reset'
    BootTimeout          = '--boot-timeout'
    TestTimeout          = '--test-timeout'
    ShutdownTimeout      = '--shutdown-timeout'
    Output               = '--output'
    DryRun               = '--dry-run'
    Help                 = '--help'
}

if (-not $Python) {
    $Python = if ($env:OS -eq 'Windows_NT') { 'python' } else { 'python3' }
}
$words = @(Join-Path $PSScriptRoot 'invoke_aero_virtio_win7_tests.py')
foreach ($name in $options.Keys) {
    if ($PSBoundParameters.ContainsKey($name)) {
        $given = $PSBoundParameters[$name]
        if ($given -isnot [switch]) {
            $words += @($options[$name], "$given")
        }
        elseif ($given) {
            $words += $options[$name]
        }
    }
}
if ($QemuArguments) {
    $words += @('--') + $QemuArguments
}
& $Python @words
exit $LASTEXITCODE
