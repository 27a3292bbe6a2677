# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the drivers with Microsoft's tools and stages them in out\ as the cross build does:
#   powershell -ExecutionPolicy Bypass -File ci\build-drivers.ps1 [-ToolchainJson PATH] [-Drivers NAME,NAME]
# A driver is a directory of drivers\windows7 with a project in it; all of them, if none are named. The
# toolchain is what install-wdk.ps1 answered.
param(
    [string]$ToolchainJson = (Join-Path $PSScriptRoot '..\out\toolchain.json'),
    [string[]]$Drivers = @()
)
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2

$root = Split-Path $PSScriptRoot
$toolchain = Get-Content -Raw $ToolchainJson | ConvertFrom-Json
$projects = @(Get-ChildItem (Join-Path $root 'drivers\windows7\*\*.vcxproj'))
$known = @($projects | ForEach-Object { $_.Directory.Name })
$wanted = @($Drivers | ForEach-Object { $_ -split ',' } | Where-Object { $_ })
foreach ($name in $wanted) {
    if ($known -notcontains $name) { throw "There is no driver '$name'. There are: $($known -join ', ')." }
}

$staged = @{ Win32 = 'x86'; x64 = 'x64' }
$below = @{ Release = ''; Debug = 'chk' }

foreach ($project in $projects) {
    $name = $project.Directory.Name
    if ($wanted -and $wanted -notcontains $name) { continue }
    foreach ($platform in 'Win32', 'x64') {
        foreach ($configuration in 'Release', 'Debug') {
            & $toolchain.msbuild $project.FullName /nologo /m /verbosity:minimal /target:Rebuild `
                "/p:Platform=$platform" "/p:Configuration=$configuration" `
                "/p:WindowsTargetPlatformVersion=$($toolchain.version)"
            if ($LASTEXITCODE -ne 0) { throw "$name, $platform ${configuration}: MSBuild ended with $LASTEXITCODE." }
            $built = Join-Path $root "build\wdk\$($project.BaseName)\$platform-$configuration\$($project.BaseName)"
            $stage = Join-Path $root "out\drivers\windows7\$name\$($staged[$platform])\$($below[$configuration])"
            New-Item -ItemType Directory -Force $stage | Out-Null
            Copy-Item "$built.sys", "$built.pdb" $stage
            Write-Output "staged $($project.BaseName).sys in $stage"
        }
    }
}
