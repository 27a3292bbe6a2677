# SPDX-License-Identifier: MIT OR Apache-2.0
# Finds the last Microsoft tools that build for Windows 7, installs what is missing, and says where they are:
#   powershell -ExecutionPolicy Bypass -File ci\install-wdk.ps1 [-ToolchainJson out\toolchain.json]
# Visual Studio 2019 (the build tools suffice) and the WDK for Windows 10, version 2004; or the EWDK of that version, if
# this runs in its shell. To install takes an administrator and some GiB, from Microsoft alone.
# The answer: {"msbuild": path, "wdkRoot": path, "version": "10.0.19041.0"}.
param([string]$ToolchainJson = (Join-Path $PSScriptRoot '..\out\toolchain.json'))
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Set-StrictMode -Version 2

$Version = '10.0.19041.0'
$ProgramFiles = ${env:ProgramFiles(x86)}
$BuildTools = 'https://aka.ms/vs/16/release/vs_buildtools.exe'
$BuildToolsArguments = '--quiet --wait --norestart --add Microsoft.VisualStudio.Workload.VCTools ' +
    '--add Microsoft.VisualStudio.Component.VC.Tools.x86.x64 --add Microsoft.VisualStudio.Component.Windows10SDK.19041'
$Wdk = 'https://go.microsoft.com/fwlink/?linkid=2128854'
$WdkArguments = '/features + /quiet /norestart'

# Runs an installer, if it is Microsoft's. 3010: done, but for a restart.
function Install-Program([string]$Url, [string]$Arguments) {
    $file = Join-Path $env:TEMP ([IO.Path]::GetRandomFileName() + '.exe')
    [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
    Invoke-WebRequest -UseBasicParsing -Uri $Url -OutFile $file
    try {
        $signature = Get-AuthenticodeSignature $file
        if ($signature.Status -ne 'Valid' -or
            $signature.SignerCertificate.Subject -notmatch 'O=Microsoft Corporation') {
            throw "$Url is not signed by Microsoft."
        }
        $process = Start-Process $file -ArgumentList $Arguments -Wait -PassThru
        if (@(0, 3010) -notcontains $process.ExitCode) { throw "$Url ended with $($process.ExitCode)." }
    } finally {
        Remove-Item $file
    }
}

# Where Visual Studio 2019 with its C++ tools is, or nothing.
function Find-VisualStudio {
    $vswhere = Join-Path $ProgramFiles 'Microsoft Visual Studio\Installer\vswhere.exe'
    if (Test-Path $vswhere) {
        & $vswhere -products * -version '[16.0,17.0)' -latest -property installationPath `
            -requires Microsoft.VisualStudio.Component.VC.Tools.x86.x64
    }
}

# Gives Visual Studio the kit's platform toolset, which the kit's setup puts nowhere but into an archive.
function Install-Toolset([string]$VisualStudio, [string]$Kit) {
    $directory = Join-Path $env:TEMP ([IO.Path]::GetRandomFileName())
    Add-Type -AssemblyName System.IO.Compression.FileSystem
    [IO.Compression.ZipFile]::ExtractToDirectory((Join-Path $Kit 'Vsix\VS2019\WDK.vsix'), $directory)
    $target = Join-Path $VisualStudio 'MSBuild\Microsoft'
    Copy-Item -Recurse -Force (Join-Path $directory '$MSBuild\Microsoft\*') $target
    Remove-Item -Recurse $directory
}

if (Test-Path env:EnterpriseWDK) {
    $msbuild = (Get-Command msbuild.exe).Path
    $kit = $env:WDKContentRoot
    $Version = $env:Version_Number
} else {
    $kit = Join-Path $ProgramFiles 'Windows Kits\10\'
    if (-not (Find-VisualStudio) -or -not (Test-Path (Join-Path $kit "Include\$Version\shared\sdkddkver.h"))) {
        Install-Program $BuildTools $BuildToolsArguments
    }
    $visualStudio = Find-VisualStudio
    if (-not $visualStudio) { throw 'Visual Studio 2019 is not there after its installation.' }
    if (-not (Test-Path (Join-Path $kit "Include\$Version\km\storport.h"))) { Install-Program $Wdk $WdkArguments }
    $toolset = 'MSBuild\Microsoft\VC\v160\Platforms\x64\PlatformToolsets\WindowsKernelModeDriver10.0'
    if (-not (Test-Path (Join-Path $visualStudio $toolset))) { Install-Toolset $visualStudio $kit }
    $msbuild = Join-Path $visualStudio 'MSBuild\Current\Bin\MSBuild.exe'
}
foreach ($path in $msbuild, (Join-Path $kit "Include\$Version\km\storport.h")) {
    if (-not (Test-Path $path)) { throw "$path is not there." }
}
$ToolchainJson = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($ToolchainJson)
New-Item -ItemType Directory -Force (Split-Path $ToolchainJson) | Out-Null
$answer = [ordered]@{ msbuild = $msbuild; wdkRoot = $kit; version = $Version }
[IO.File]::WriteAllText($ToolchainJson, (ConvertTo-Json $answer))
Write-Output "$ToolchainJson names the WDK $Version."
